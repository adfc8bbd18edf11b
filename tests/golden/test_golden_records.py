"""Records are those of earlier versions of the code, bit for bit, and the same in one process and in workers.

`digests.json` holds their digests for each kind of machine that was asked so far: see `fingerprint.py` and `write.py`.
"""

from __future__ import annotations

from functools import cache

import pytest

from .fingerprint import about, key_of
from .scenarios import NAMES, Digests, differences, digests, played
from .stored import read

#: played in two workers in `make test`, the others in `make test-slow`: a worker takes seconds to import what it needs
_IN_WORKERS = "decisions"


@cache
def here(name: str) -> Digests:
    """The digests of a scenario, played in this process once for all tests."""
    return digests(played(name))


@pytest.mark.parametrize("name", NAMES)
def test_records_are_those_of_earlier_versions(name: str) -> None:
    values, stored = about(), read()
    key = key_of(values)
    found = here(name)
    if key not in stored:
        pytest.skip(
            f"no digests are stored for machines that compute like this one ({key}: {values}); where the code is known "
            "to be good, add them with `python tests/golden/write.py`"
        )
    assert differences(name, stored[key]["digests"].get(name, {}), found) == []


@pytest.mark.parametrize(
    "name", [name if name == _IN_WORKERS else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_two_workers_give_the_same_records_as_one_process(name: str) -> None:
    assert differences(name, here(name), digests(played(name, processes=2))) == []


def test_a_difference_names_scenario_line_and_period() -> None:
    expected = {"main": ["a" * 64, "b" * 64], "main.twin": ["c" * 64]}
    found = {"main": ["a" * 64, "d" * 64], "other": ["e" * 64]}
    assert differences("tiny", expected, found) == [
        "scenario tiny, line main, period 1: expected bbbbbbbbbbbb, got dddddddddddd",
        "scenario tiny, line main.twin, period 0: expected cccccccccccc, got none",
        "scenario tiny, line other, period 0: expected none, got eeeeeeeeeeee",
    ]
