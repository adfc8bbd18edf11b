"""A method is excused from finding the small backdoor only by what is true of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from defenses.strip import Strip
from simulator.checks.example import TARGET, example
from simulator.checks.subject import Subject
from simulator.checks.trial import Trial
from simulator.scenario import catalog
from tests.defenses.excuses import DOCSTRING, EXCUSED, FIXED, LEAST, PAGE, RECALL, TRAINS
from tests.defenses.retold import ours

REPAIRS = Path(__file__).parents[2] / "docs" / "repairs.md"


def _words(text: str | None) -> str:
    return " ".join((text or "").split())


def test_only_registered_defenses_are_excused_and_every_surface_but_training_finds() -> None:
    assert set(ours()) >= EXCUSED
    finding = {catalog.build("defenses", name).surface for name in ours() if name not in EXCUSED}
    assert finding == {"filter", "repair", "inspector", "screen"}


@pytest.mark.parametrize("name", DOCSTRING)
def test_the_docstring_says_so(name: str) -> None:
    assert DOCSTRING[name] in _words(catalog.resolve("defenses", name).__doc__)


@pytest.mark.parametrize("name", PAGE)
def test_the_page_of_repairs_says_so(name: str) -> None:
    assert PAGE[name] in _words(REPAIRS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", TRAINS)
def test_what_trains_on_the_window_is_a_training(name: str) -> None:
    assert catalog.build("defenses", name).surface == "training"


@pytest.mark.parametrize("name", LEAST)
def test_there_are_too_few_earlier_versions(name: str) -> None:
    assert catalog.build("defenses", name).least > len(example().versions)


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("kind", ["planted", "clean"])
def test_no_more_than_the_fixed_share_of_the_class_is_dropped(name: str, kind: str) -> None:
    window = example().windows[kind]
    dropped = ~_trial(name, kind).of_window()[-1].keep
    assert int(dropped[window.labels == TARGET].sum()) <= FIXED[name]
    assert int(dropped.sum()) == FIXED[name] * (10 if name == "spectral-signatures" else 1)


def test_the_smaller_cluster_is_that_of_clean_rows() -> None:
    """Trusted images of the class gather in it: poison is in the other, larger one, which is not judged."""
    assert _of_target("activation-clustering", "planted")["trusted_share"] > 0.5


def test_the_class_is_two_groups_without_poison_too() -> None:
    assert _of_target("scan", "clean")["index"] > _of_target("scan", "planted")["index"] > 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_filter_by_strip_finds_the_poison_at_the_rate_of_the_screen(seed: int) -> None:
    dropped = (
        ~_trial("strip-filter", "planted", seed, false_positive_rate=Strip().false_positive_rate).of_window()[-1].keep
    )
    assert float(dropped[example().poison].float().mean()) >= RECALL


def _of_target(name: str, kind: str) -> Any:
    return _trial(name, kind).of_window()[-1].evidence["classes"][str(TARGET)]


def _trial(name: str, kind: str, seed: int = 0, **given: Any) -> Trial:
    return Trial(Subject("defenses", name, catalog.resolve("defenses", name), given), example(), kind, seed)
