"""Whose code a plug-in is has one answer, and what is not known to be ebbdoor's is somebody else's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.scenario import catalog
from tests.strangers import entry_point


@pytest.mark.parametrize(
    ("kind", "use", "expected"),
    [
        ("defenses", "strip", False),
        ("defenses", "defenses.strip:Strip", False),
        ("networks", "standard-cnn", False),
        ("networks", "simulator.production.training.networks:standard_cnn", False),
        ("defenses", "no-such-name", False),  # nobody's code
        ("defenses", "user_methods:Mine", True),
        ("defenses", "simulatorlike:Mine", True),
        ("defenses", "defenses.nowhere:Mine", True),  # cannot be shown to be ours
    ],
)
def test_whose_code_a_plug_in_is(kind: str, use: str, expected: bool) -> None:
    assert catalog.is_third_party(kind, use) is expected


def test_a_user_s_own_folder_called_defenses_is_the_user_s_also_before_anything_of_it_was_imported(
    tmp_path: Path, user_file: Callable[[str, str], None]
) -> None:
    user_file("defenses/mine.py", "raise AssertionError\n")
    assert (tmp_path / "defenses" / "mine.py").exists()
    assert catalog.is_third_party("defenses", "defenses.mine:Mine")


def test_a_short_name_of_no_known_distribution_is_somebody_else_s(monkeypatch: pytest.MonkeyPatch) -> None:
    found = entry_point("defenses", "mine", "mine:Mine")
    assert found.dist is None
    monkeypatch.setattr(catalog, "point", lambda kind, use: found)
    assert catalog.is_third_party("defenses", "mine")
