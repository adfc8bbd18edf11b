"""Survival where some readings are missing: known where any value of them gives the same, else unknown."""

from __future__ import annotations

import re
from itertools import product

import pytest

from simulator.observer.survival import Served, Survival, survival

ABOVE, BELOW = 0.9, 0.1


def line(pattern: str) -> list[Served]:
    """One promoted version a period: `a` at the threshold or above, `b` below, `?` without a reading."""
    nets = {"a": ABOVE, "b": BELOW, "?": None}
    return [Served(period, period, promoted=period > 0, net=nets[mark]) for period, mark in enumerate(pattern)]


def life(pattern: str) -> Survival:
    return survival(line(pattern), 0.5)


@pytest.mark.parametrize(
    ("pattern", "reached", "planted", "ended", "erased", "updates", "between", "state"),
    [
        # the first late reading is not the planting
        ("??a", True, None, False, None, None, (0, None), "alive"),
        ("?aa", True, None, False, None, None, (1, None), "alive"),
        ("?abb", True, None, True, 2, None, (1, 2), "erased"),
        ("b?aa", True, None, False, None, None, (1, None), "alive"),
        # below where it is known, and not known everywhere: planting is unknown
        ("??b", None, None, None, None, None, None, "unknown"),
        ("bb?", None, None, None, None, None, None, "unknown"),
        ("???", None, None, None, None, None, None, "unknown"),
        # a gap that changes nothing
        ("a?a", True, 0, False, None, 2, (2, None), "alive"),
        ("aa?", True, 0, False, None, 2, (2, None), "unknown"),
        ("abb?", True, 0, True, 1, 1, (1, 1), "unknown"),
        ("abba?", True, 0, True, 1, 1, (1, 1), "unknown"),
        # a gap that may be the erasing period, or the second one below
        ("a?b", True, 0, None, None, None, (1, None), "unknown"),
        ("ab?", True, 0, None, None, None, (1, None), "unknown"),
        ("a??a", True, 0, None, None, None, (1, None), "alive"),
        ("a?bb", True, 0, True, None, None, (1, 2), "erased"),
        ("ab?bb", True, 0, True, None, None, (1, 3), "erased"),
        ("a???", True, 0, None, None, None, (1, None), "unknown"),
        ("aab", True, 0, False, None, 2, (2, None), "censored"),
    ],
)
def test_patterns_worked_by_hand(
    pattern: str,
    reached: bool | None,
    planted: int | None,
    ended: bool | None,
    erased: int | None,
    updates: int | None,
    between: tuple[int, int | None] | None,
    state: str,
) -> None:
    found = life(pattern)
    assert (found.reached, found.planted, found.ended) == (reached, planted, ended)
    assert (found.erased, found.updates, found.between, found.state) == (erased, updates, between, state)


@pytest.mark.parametrize(
    ("pattern", "revived", "returns"),
    [
        ("abba", (3,), (1, 1)),
        ("abbaba", (3,), (1, 1)),  # period 4 alone is no erasure
        ("abbabba", (3, 6), (2, 2)),
        ("abb?", None, (0, 1)),
        ("abb?a", None, (1, 1)),  # in period 3 or in period 4, but once
        ("abb?b", None, (0, 1)),
        ("abba?", (3,), (1, 1)),
        ("abba?a", (3,), (1, 1)),
        ("abba??a", None, (1, 2)),
        ("aa?", (), (0, 0)),
        ("ab?", (), (0, 0)),
        ("ab?a", None, (0, 1)),
    ],
)
def test_how_often_it_came_back(pattern: str, revived: tuple[int, ...] | None, returns: tuple[int, int] | None) -> None:
    found = life(pattern)
    assert (found.revived, found.returns) == (revived, returns)


@pytest.mark.parametrize("pattern", ["".join(marks) for marks in product("ab?", repeat=5)])
def test_every_pattern_of_five_periods_agrees_with_all_ways_to_fill_it(pattern: str) -> None:
    """What is known is what all ways to fill the gaps share; the bounds are their lowest and highest."""
    filled = [_filled(pattern, marks) for marks in product("ab", repeat=pattern.count("?"))]
    lives = [_by_definition(marks) for marks in filled]
    found = life(pattern)
    planted = {one is not None for one in lives}
    assert found.reached is (planted.pop() if len(planted) == 1 else None)
    if not found.reached:
        assert (found.planted, found.erased, found.updates, found.between) == (None, None, None, None)
        return
    known = [one for one in lives if one is not None]
    ended = {erased is not None for _, erased in known}
    assert found.ended is (ended.pop() if len(ended) == 1 else None)
    starts, updates = {start for start, _ in known}, {_updates(one) for one in known}
    assert found.planted == (starts.pop() if len(starts) == 1 else None)
    assert found.updates == (updates.pop() if len(updates) == 1 and found.ended is not None else None)
    longest = None if any(erased is None for _, erased in known) else max(map(_updates, known))
    assert found.between == (min(map(_updates, known)), longest)
    states, backs = {_state(marks) for marks in filled}, {_returns(marks) for marks in filled}
    assert found.state == (states.pop() if len(states) == 1 else "unknown")
    assert found.revived == (backs.copy().pop() if len(backs) == 1 else None)
    assert found.returns == (min(map(len, backs)), max(map(len, backs)))


def _filled(pattern: str, marks: tuple[str, ...]) -> str:
    for mark in marks:
        pattern = pattern.replace("?", mark, 1)
    return pattern


def _by_definition(marks: str) -> tuple[int, int | None] | None:
    """Planting and erasure by text search: the first `a`, and the first `bb` after it."""
    start = marks.find("a")
    gone = marks.find("bb", start)
    return None if start < 0 else (start, None if gone < 0 else gone)


def _state(marks: str) -> str:
    """The state at the end by text search, of what was planted."""
    return "alive" if marks.endswith("a") else "erased" if marks.endswith("bb") else "censored"


def _returns(marks: str) -> tuple[int, ...]:
    """The first `a` after each run of `b`s, after the planting, that is long enough."""
    start = marks.find("a")
    return tuple(found.end() - 1 for found in re.finditer("bb+a", marks) if found.start() > start >= 0)


def _updates(one: tuple[int, int | None]) -> int:
    start, gone = one
    return (4 if gone is None else gone) - start


def test_a_version_that_goes_on_serving_counts_by_each_of_its_readings() -> None:
    points = [Served(0, 0, True, 0.9), Served(1, 1, True, None), Served(2, 1, False, 0.1), Served(3, 3, True, 0.1)]
    found = survival(points, 0.5)
    assert (found.ended, found.erased, found.updates, found.between) == (True, None, 1, (1, 1))


def test_updates_are_known_where_only_a_rejected_candidate_lies_in_the_gap() -> None:
    points = [Served(0, 0, True, None), Served(1, 0, False, 0.9), Served(2, 2, True, 0.1), Served(3, 3, True, 0.1)]
    found = survival(points, 0.5)
    assert (found.planted, found.erased, found.updates, found.periods) == (None, 2, 1, None)
