"""Where a line stands, on hand-worked histories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.production.lineage import LineageState, ancestry
from simulator.records import Action, PeriodRecord

Record = Callable[..., PeriodRecord]


def rolled(period: int, to: int, number: int = 0) -> Action:
    return Action(run="r1", arm="main", period=period, number=number, kind="roll back", to=to, reason="r")


@pytest.mark.parametrize(
    ("served", "candidate", "challenger", "expected"),
    [
        ((), None, None, {}),
        ((), 0, None, {}),
        ((0,), 0, None, {"champion": 0}),
        ((0, 1), 1, None, {"champion": 1, "previous": 0}),
        ((0, 1, 1), 2, None, {"champion": 1, "previous": 0, "candidate": 2}),
        ((0, 1, 1, 1), None, None, {"champion": 1, "previous": 0}),
        ((0, 1, 0), None, None, {"champion": 0, "previous": 1}),
        ((0, 1, 0), 1, None, {"champion": 0, "previous": 1}),
        ((0, 1, 3), 3, None, {"champion": 3, "previous": 1}),
        ((0, 0), 1, 1, {"champion": 0, "candidate": 1, "challenger": 1}),
        ((0, 0, 1), None, None, {"champion": 1, "previous": 0}),
    ],
)
def test_aliases(served: tuple[int, ...], candidate: int | None, challenger: int | None, expected: Any) -> None:
    assert LineageState(served, candidate, challenger).aliases() == expected


def test_nothing_committed_is_nothing_served() -> None:
    assert LineageState.of([]) == LineageState()
    assert LineageState().champion is None
    assert LineageState().previous is None


def test_records_and_roll_backs_in_their_order(record: Record) -> None:
    records = [record(0), record(1), record(2, version=0, candidate=2)]
    assert LineageState.of(records) == LineageState((0, 1, 0), 2)
    assert LineageState.of(records[:2], [rolled(1, 0)]) == LineageState((0, 1, 0), 1)
    actions = [rolled(1, 0), rolled(2, 1), rolled(2, 2, 1)]
    assert LineageState.of(records, actions) == LineageState((0, 1, 0, 0, 1, 2), 2)


def test_only_the_last_record_keeps_its_state_and_only_the_last_actions_are_due(record: Record) -> None:
    records = [record(period, state={"period": period}) for period in range(3)]
    actions = [rolled(1, 0), rolled(2, 1), rolled(2, 0, 1)]
    state = LineageState.of(records, actions, surplus=2)
    assert (state.last, state.next_ordinal, state.surplus) == (2, 3, 2)
    assert [(kept.period, kept.state) for kept in state.records] == [(0, {}), (1, {}), (2, {"period": 2})]
    assert list(state.since) == actions[1:]


@pytest.mark.parametrize(
    ("ordinal", "expected"),
    [(0, [0]), (2, [2, 1, 0]), (4, [4, 1, 0]), (8, [8, 7, 6, 5, 4])],
    ids=["the first version", "all of a short line", "after a roll-back", "three ancestors and a parent"],
)
def test_a_version_that_serves_again_needs_its_nearest_ancestors(ordinal: int, expected: list[int]) -> None:
    parents = {0: None, 1: 0, 2: 1, 3: 2, 4: 1, 5: 4, 6: 5, 7: 6, 8: 7}
    assert ancestry(parents, ordinal) == expected


def test_a_retraining_asked_for_changes_nothing_that_serves(record: Record) -> None:
    asked = Action(run="r1", arm="main", period=0, number=0, kind="retrain", reason="drift")
    assert LineageState.of([record(0)], [asked]) == LineageState((0,), 0)


def test_a_challenger_is_named_until_it_serves_or_a_roll_back_ends_its_shadow(record: Record) -> None:
    held = record(1, version=0, candidate=1, challenger=1)
    assert LineageState.of([record(0), held]).aliases() == {"champion": 0, "candidate": 1, "challenger": 1}
    assert LineageState.of([record(0), held], [rolled(1, 0)]).challenger is None


@pytest.mark.parametrize(("kind", "to"), [("roll back", None), ("retrain", 1)])
def test_an_action_names_a_version_exactly_when_it_is_a_roll_back(kind: Any, to: int | None) -> None:
    with pytest.raises(ValueError, match="exactly a roll-back to name the version"):
        Action(run="r1", arm="main", period=0, number=0, kind=kind, to=to, reason="r")


def test_a_roll_back_gives_up_all_that_lies_between(record: Record) -> None:
    """From 3 to 1: nobody should go back to 2 without being asked; 3 serves again by order, and 2 is sound with it."""
    records = [record(period) for period in range(4)]
    assert LineageState.of(records, [rolled(3, 1)]).rolled_back == {2, 3}
    assert LineageState.of(records, [rolled(3, 1), rolled(3, 0, 1)]).rolled_back == {1, 2, 3}
    assert LineageState.of(records, [rolled(3, 1), rolled(3, 3, 1)]).rolled_back == frozenset()
