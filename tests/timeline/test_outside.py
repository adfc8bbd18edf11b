"""What is done to an arm from outside between two periods, and how it goes on from there."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.errors import EbbdoorError, StoreError, StoreUnavailableError
from simulator.loop.actions import request_retraining, roll_back
from simulator.loop.resume import states_of
from simulator.production.platform import Platform
from simulator.records import Action

from .conftest import Opened, Played, Stop, dies_after, digests

#: seven versions by period 6; version 1 is not among those still at hand, the first poisoned one is 2. Period 7 does
#: not retrain, period 8 does
KEYS: dict[str, Any] = {
    "periods": 8,
    "policy": {"use": "scripted", "periods": [1, 2, 3, 4, 5, 6, 8]},
    "campaign": {"use": "one-shot", "period": 2, "rate": 0.2},
}


def _rolled_back() -> Opened:
    opened = Opened(**KEYS)
    opened.play(until=6)
    roll_back(opened.head, opened.registry, opened.ledger, "main", 1, "customers complain", {"clean": 0.5})
    return opened


@pytest.fixture(scope="module")
def run() -> Opened:
    opened = _rolled_back()
    assert opened.aliases() == opened.aliases("main.twin") == {"champion": 1, "previous": 6}
    opened.play()
    return opened


@pytest.fixture(scope="module")
def played(run: Opened) -> Played:
    return {key.name: run.ledger.entries(key) for key in run.head.lineages}


@pytest.mark.parametrize("line", ["main", "main.twin"])
def test_the_older_version_serves_and_the_next_update_goes_on_from_it(run: Opened, line: str) -> None:
    records = run.records(line)
    assert 1 not in records[6].state["platform"]["kept"]
    assert [record.version for record in records[6:]] == [6, 1, 7]
    assert records[7].weights == records[1].weights
    assert (records[8].candidate, records[8].candidate_parent, records[8].parent) == (7, 1, 1)
    distance = records[1].readings["weights/distance_to_parent"]
    assert records[7].readings["weights/distance_to_parent"] == distance
    assert distance.value is not None
    assert distance.value > 0


def test_the_record_of_the_next_period_tells_what_was_done(run: Opened) -> None:
    for line in ("main", "main.twin"):
        actions = [record.actions for record in run.records(line)]
        assert [len(found) for found in actions] == [0, 0, 0, 0, 0, 0, 0, 1, 0]
        (action,) = actions[7]
        assert (action.kind, action.to, action.period, action.number) == ("roll back", 1, 6, 0)
        assert (action.reason, action.numbers) == ("customers complain", {"clean": 0.5})


def test_what_is_done_from_outside_survives_fresh_processes_and_kills(played: Played) -> None:
    opened = _rolled_back()
    with pytest.raises(Stop):
        opened.play(wrap=dies_after("commit", 7, "paced"))
    opened.play(until=7)
    assert digests(opened.play()) == digests(played)


def test_a_roll_back_that_only_the_ledger_heard_of_is_carried_out_at_the_start() -> None:
    opened = Opened(periods=2)
    opened.play(until=1)
    opened.ledger.act(Action(run="run", arm="main", period=1, number=0, kind="roll back", to=0, reason="slow"), {})
    assert opened.aliases()["champion"] == 1
    with pytest.raises(Stop):
        opened.play(wrap=dies_after("ingest", 2, "none"))
    assert opened.aliases() == opened.aliases("main.twin") == {"champion": 0, "previous": 1}


def test_what_a_killed_process_left_beyond_the_ledger_is_removed_at_the_start() -> None:
    opened = Opened(periods=2)
    with pytest.raises(Stop):
        opened.play(wrap=dies_after("commit", 2, "paced"))  # the twin is a period ahead of its arm
    twin = opened.head.lineages[1]
    assert (len(opened.records("main.twin")), sorted(opened.registry.versions[twin])) == (3, [0, 1, 2])
    states = states_of(opened.ledger, opened.head, "main")
    assert {key.name: (state.last, state.surplus) for key, state in states.items()} == {
        "main": (1, 0),
        "main.twin": (1, 1),
    }
    with pytest.raises(Stop):
        opened.play(wrap=dies_after("ingest", 2, "none"))
    assert (len(opened.records("main.twin")), sorted(opened.registry.versions[twin])) == (2, [0, 1])
    assert opened.aliases("main.twin") == {"champion": 1, "previous": 0}


def test_a_registry_is_told_of_each_roll_back_until_a_period_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(periods=3)
    opened.play(until=1)
    for number, to in enumerate((0, None, 1)):  # a roll-back, a request to retrain, another roll-back
        kind = "retrain" if to is None else "roll back"
        opened.ledger.act(Action(run="run", arm="main", period=1, number=number, kind=kind, to=to, reason="r"), {})
    told: list[tuple[str, int | None, int | None]] = []
    monkeypatch.setattr(
        opened.registry, "roll_back", lambda key, action, now: told.append((key.name, action.to, now.champion))
    )
    opened.play(until=2)
    assert told == [("main", 0, 0), ("main", 1, 1), ("main.twin", 0, 0), ("main.twin", 1, 1)]
    told.clear()
    opened.play()
    assert told == []


def test_without_a_version_the_one_before_serves_again_and_a_free_twin_does_not_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = Opened(periods=2, policy={"use": "scripted", "periods": [1]}, twins=["paced", "free"])
    opened.play(until=1)
    told: list[str] = []
    honest = opened.registry.roll_back
    monkeypatch.setattr(opened.registry, "roll_back", lambda key, *rest: told.append(key.name) or honest(key, *rest))
    action = roll_back(opened.head, opened.registry, opened.ledger, "main", reason="slow")
    assert action.to == 0
    again = roll_back(opened.head, opened.registry, opened.ledger, "main", reason="it was not that")
    assert (again.to, again.number) == (1, 1)
    assert roll_back(opened.head, opened.registry, opened.ledger, "main", 0, " it was\n").reason == "it was"
    assert opened.aliases() == opened.aliases("main.twin") == {"champion": 0, "previous": 1}
    assert opened.aliases("main.free-twin") == {"champion": 1, "previous": 0}
    assert told == ["main", "main.twin"] * 3
    opened.play()
    assert {line: opened.records(line)[2].version for line in ("main", "main.twin", "main.free-twin")} == {
        "main": 0,
        "main.twin": 0,
        "main.free-twin": 1,
    }
    assert len(opened.records()[2].actions) == 3
    later = roll_back(opened.head, opened.registry, opened.ledger, "main", 1, "it was not")
    assert (later.period, later.number) == (2, 0)
    assert opened.records("main.free-twin")[2].actions == []


def test_a_roll_back_ends_a_shadow() -> None:
    opened = Opened(periods=4, shadow={"periods": 1}, twins=[])
    opened.play(until=3)
    assert opened.aliases() == {"champion": 1, "previous": 0, "challenger": 2, "candidate": 2}
    roll_back(opened.head, opened.registry, opened.ledger, "main", 0, "slow")
    assert "challenger" not in opened.aliases()
    opened.play()
    last = opened.records()[4]
    assert (last.candidate, last.candidate_parent, last.judgement.action, last.challenger) == (3, 0, "held", 3)


def test_the_platform_is_not_told_the_numbers_of_a_roll_back(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(periods=2, twins=[])
    opened.play(until=1)
    roll_back(opened.head, opened.registry, opened.ledger, "main", 0, "slow", {"left/backdoor/attack_success": 0.9})
    told: list[Action] = []
    act = Platform.act
    monkeypatch.setattr(
        Platform, "act", lambda self, action, weights: told.append(action) or act(self, action, weights)
    )
    record = opened.play()["main"][2].record
    assert [action.numbers for action in record.actions] == [{"left/backdoor/attack_success": 0.9}]
    assert [(action.to, action.reason, action.numbers) for action in told] == [(0, "slow", {})]


def test_a_finished_run_may_still_be_rolled_back() -> None:
    opened = Opened(periods=1, twins=[])
    opened.play()
    roll_back(opened.head, opened.registry, opened.ledger, "main", None, "slow")
    assert opened.aliases() == {"champion": 0, "previous": 1}
    assert len(opened.play()["main"]) == 2


def test_a_roll_back_of_a_finished_run_that_only_the_ledger_heard_of_is_carried_out() -> None:
    opened = Opened(periods=1)
    opened.play()
    opened.ledger.act(Action(run="run", arm="main", period=1, number=0, kind="roll back", to=0, reason="slow"), {})
    opened.play(until=0)  # the last period is committed all the same
    assert opened.aliases() == opened.aliases("main.twin") == {"champion": 0, "previous": 1}


def test_a_store_that_does_not_answer_is_no_missing_version(
    monkeypatch: pytest.MonkeyPatch, two_periods: Opened
) -> None:
    def weights(*_: object) -> None:
        raise StoreUnavailableError("expected the store to answer, got silence; wait")

    monkeypatch.setattr(two_periods.registry, "weights", weights)
    with pytest.raises(StoreUnavailableError, match=r"^expected the store to answer"):
        roll_back(two_periods.head, two_periods.registry, two_periods.ledger, "main", 0, "slow")
    assert two_periods.ledger.actions("main") == []


def test_a_request_retrains_once_whatever_the_policy_says() -> None:
    opened = Opened(periods=3, policy={"use": "never"})
    opened.play(until=1)
    request_retraining(opened.head, opened.ledger, "main", "drift alarm", {"score": 0.9})
    request_retraining(opened.head, opened.ledger, "main", "asked by hand")
    opened.play()
    records = opened.records()
    assert [record.candidate for record in records] == [0, None, 1, None]
    assert records[2].decision.why == "requested after period 1: drift alarm; requested after period 1: asked by hand"
    assert [record.candidate for record in opened.records("main.twin")] == [0, None, 1, None]


def test_a_request_waits_for_labels() -> None:
    opened = Opened(periods=4, policy={"use": "never"}, stream=_late(2), twins=[])
    opened.play(until=0)
    request_retraining(opened.head, opened.ledger, "main", "drift alarm")
    for period in range(1, 5):
        opened.play(until=period)
    records = opened.records()
    assert [record.candidate for record in records] == [0, None, None, 1, None]
    assert records[1].decision.why == "no labels have arrived"


def test_a_request_waits_for_the_end_of_a_shadow() -> None:
    opened = Opened(periods=3, policy={"use": "scripted", "periods": [1]}, shadow={"periods": 1}, twins=[])
    opened.play(until=1)
    request_retraining(opened.head, opened.ledger, "main", "drift alarm")
    opened.play()
    assert [record.candidate for record in opened.records()] == [0, 1, None, 2]


def _late(delay: int) -> dict[str, int]:
    return {"base": 300, "batch": 60, "validation": 60, "relearning": 20, "test": 100, "label_delay": delay}


@pytest.fixture(scope="module")
def two_periods() -> Opened:
    """Version 1 was refused, so that only versions 0 and 2 have served."""
    opened = Opened(periods=2, gate={"use": "scripted", "reject": [1]}, twins=[])
    opened.play()
    return opened


@pytest.mark.parametrize(
    ("arm", "to", "reason", "sentence"),
    [
        ("mian", 0, "slow", r"expected an arm of run 'run' \(main\), got 'mian'; name one of them"),
        (
            "main",
            2,
            "slow",
            r"expected another version of 'main' than the one that serves, got ordinal 2; choose from ordinal 0$",
        ),
        ("main", 1, "slow", r"expected a version of 'main' that has served, got ordinal 1; choose from ordinal 0"),
        ("main", 7, "slow", r"expected a version of 'main' that has served, got ordinal 7; choose from ordinal 0"),
        ("main", -1, "slow", r"expected a version of 'main' that has served, got ordinal -1; choose from ordinal 0"),
        ("main", 0, " ", r"expected a reason to roll back, got none; say why, it is kept with the run"),
    ],
)
def test_a_roll_back_is_refused(two_periods: Opened, arm: str, to: int, reason: str, sentence: str) -> None:
    run = two_periods
    with pytest.raises(EbbdoorError, match=sentence):
        roll_back(run.head, run.registry, run.ledger, arm, to, reason)
    assert run.ledger.actions("main") == []
    assert run.aliases()["champion"] == 2


def test_a_version_that_the_registry_does_not_hold_is_refused() -> None:
    opened = Opened(periods=2)
    opened.play()
    opened.registry.versions[opened.head.lineages[1]].pop(0)  # the twin's parent of what shall serve
    with pytest.raises(
        StoreError, match=r"ordinal 1 cannot serve again: expected version 1 of 'main\.twin' to be stor"
    ):
        roll_back(opened.head, opened.registry, opened.ledger, "main", 1, "slow")
    assert opened.ledger.actions("main") == []


def test_nothing_to_roll_back_to_or_to_retrain_in(two_periods: Opened) -> None:
    fresh = Opened(periods=1, twins=[])
    with pytest.raises(EbbdoorError, match=r"arm 'main' of run 'run' to have a committed period, got none; wait for"):
        roll_back(fresh.head, fresh.registry, fresh.ledger, "main", 0, "slow")
    with pytest.raises(EbbdoorError, match=r"to have a committed period, got none; wait for period 0"):
        request_retraining(fresh.head, fresh.ledger, "main", "drift")
    fresh.play(until=0)
    with pytest.raises(
        EbbdoorError, match=r"that served before the one that serves, got none; there is nothing to roll back to"
    ):
        roll_back(fresh.head, fresh.registry, fresh.ledger, "main", reason="slow")
    with pytest.raises(EbbdoorError, match=r"expected a reason to retrain, got none; say why"):
        request_retraining(fresh.head, fresh.ledger, "main", "")
    with pytest.raises(EbbdoorError, match=r"to have a period left to retrain in, got its last, 2, committed; start"):
        request_retraining(two_periods.head, two_periods.ledger, "main", "drift")
