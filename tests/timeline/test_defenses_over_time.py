"""What a defense over time is handed: whose model it looks at, earlier periods, and what it remembers itself."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.loop.actions import roll_back
from simulator.loop.events import STAGES
from simulator.loop.run import continue_run, play
from simulator.records import PeriodRecord

from .conftest import Opened, Played, Stop, digests

LOOKS = {"use": "scripted", "surface": "inspector", "remembers": True, "back": 2}
KEYS: dict[str, Any] = {
    "periods": 4,
    "in_process": True,
    "recipe": {
        "base": {"epochs": 1, "batch": 32},
        "update": {"epochs": 1, "batch": 32},
        "replay": {"share": 0.5},
    },
    "defenses": [
        {"use": "scripted", "surface": "filter", "remembers": True, "again": True, "script": {1: "flag"}},
        LOOKS,
    ],
}


def clearing(surface: str, after_rollback: str) -> dict[str, Any]:
    return {"use": "scripted", "surface": surface, "remembers": True, "after_rollback": after_rollback}


def evidence(record: PeriodRecord, name: str = "scripted-2", subject: str = "candidate") -> dict[str, Any]:
    (outcome,) = (one for one in record.outcomes if (one.name, one.subject) == (name, subject))
    return outcome.evidence


@pytest.fixture(scope="module")
def run() -> Opened:
    opened = Opened(**KEYS, policy={"use": "scripted", "periods": [1, 3, 4]}, gate={"use": "scripted", "reject": [3]})
    opened.play()
    return opened


def test_history_tells_the_versions_and_who_served_when(run: Opened) -> None:
    """Version 2, of period 3, is rejected; nothing is trained in period 2."""
    records = run.records()
    assert evidence(records[0])["versions"] == []
    assert evidence(records[4])["versions"] == [[0, None, 0, [0]], [1, 0, 1, [1, 2, 3]], [2, 1, 3, []]]
    assert [evidence(record, subject=whose)["champion"] for record, whose in (
        (records[1], "candidate"), (records[2], "champion"), (records[3], "champion"), (records[4], "candidate"),
    )] == [0, 1, 1, 1]  # fmt: skip
    assert [period for period, _ in evidence(records[4])["signals"]] == [0, 1, 2, 3, 4]


def test_history_tells_what_was_said_of_each_version(run: Opened) -> None:
    statuses = evidence(run.records()[4])["statuses"]
    assert statuses == [
        ["passed", "passed"],  # the filter and the inspector of period 0
        ["changed", "passed", "passed", "passed"],  # of period 1, and as the champion of periods 2 and 3
        ["passed", "passed"],
    ]


def test_accuracies_are_those_that_the_gate_measured(run: Opened) -> None:
    records = run.records()
    measured = [records[period].judgement.numbers["candidate_accuracy"] for period in (0, 1, 3)]
    assert evidence(records[4])["accuracies"] == measured


def test_only_what_the_class_declares_can_be_loaded(run: Opened) -> None:
    seen = evidence(run.records()[4])
    assert [ordinal for ordinal, _ in seen["loaded"]] == [0, 1, 2]  # the champion and its parent, and the latest two
    assert [period for period, _ in seen["rows"]] == [2, 3]
    assert seen["batches"] == [0, 1, 2, 3]
    assert {1, 2} <= set(run.records()[4].state["platform"]["kept"])


def test_a_state_is_handed_back_and_second_looks_see_it(run: Opened) -> None:
    """The filter is called once in period 0, twice in 1, 3 and 4; the inspector once or twice in each."""
    records = run.records()
    assert [record.state["platform"]["defense_states"]["scripted"]["values"]["calls"] for record in records] == [
        1, 3, 3, 5, 7,
    ]  # fmt: skip
    assert [evidence(record, "scripted", "window")["handed"] for record in (records[0], records[1], records[3])] == [
        [None, {}], [1, {"calls": 2}], [3, {"calls": 4}],
    ]  # fmt: skip
    stored = records[2].state["platform"]["defense_states"]["scripted-2"]
    assert (stored["period"], stored["values"]) == (2, {"calls": 3})


def test_a_run_without_such_a_defense_keeps_what_it_always_kept() -> None:
    opened = Opened(**KEYS | {"periods": 1, "defenses": [{"use": "scripted", "surface": "inspector"}]})
    opened.play()
    assert not {"accuracies", "defense_states"} & opened.records()[1].state["platform"].keys()


def killed_at(stage: str, edge: str, period: int, control: str, **keys: Any) -> Opened:
    """A run killed before or after a stage, and resumed from the ledger alone."""

    def wrap(name: str, function: Any) -> Any:
        def call(arm: str, of: str, now: int, **arguments: Any) -> Any:
            if (name, now, of, edge) == (stage, period, control, "before"):
                raise Stop
            answer = function(arm, of, now, **arguments)
            if (name, now, of, edge) == (stage, period, control, "after"):
                raise Stop
            return answer

        return call

    opened = Opened(**keys)
    with pytest.raises(Stop):
        opened.play(wrap=wrap)
    head, scenario = continue_run(opened.registry, opened.ledger, "run")
    play(head, scenario, opened.registry, opened.ledger, processes=0)
    return opened


SCREENED = KEYS | {
    "periods": 1,
    "defenses": [*KEYS["defenses"], {"use": "scripted", "surface": "screen", "back": 1}],
    "probes": [{"use": "attack-success"}],
    "gate": {"use": "accuracy"},
}


@pytest.fixture(scope="module")
def whole() -> dict[str, list[str]]:
    return digests(Opened(**SCREENED).play())


#: (stage, before or after it, line): those between which something is remembered
BOUNDARIES = [
    ("filter", "after", "none"),
    ("inspect", "after", "none"),
    ("probe", "after", "none"),
    ("commit", "after", "paced"),
]
EVERY = [
    (stage, edge, line)
    for stage in STAGES
    for edge in ("before", "after")
    for line in ("none", "paced")
    if stage != "repair" and (line == "none" or stage not in ("decide", "gate"))  # a paced twin replays decisions
]


def resumed_is_undisturbed(whole: dict[str, list[str]], stage: str, edge: str, line: str) -> None:
    opened = killed_at(stage, edge, 1, line, **SCREENED)
    found = {key.name: [entry.sha256 for entry in opened.ledger.entries(key)] for key in opened.head.lineages}
    assert found == whole


@pytest.mark.parametrize(("stage", "edge", "line"), BOUNDARIES)
def test_killed_and_resumed_it_decides_as_undisturbed(
    whole: dict[str, list[str]], stage: str, edge: str, line: str
) -> None:
    resumed_is_undisturbed(whole, stage, edge, line)


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "edge", "line"), EVERY)
def test_killed_at_every_stage_and_resumed_it_decides_as_undisturbed(
    whole: dict[str, list[str]], stage: str, edge: str, line: str
) -> None:
    resumed_is_undisturbed(whole, stage, edge, line)


def test_played_period_by_period_in_fresh_processes_it_decides_as_undisturbed(whole: dict[str, list[str]]) -> None:
    """As `advance` does: what a process knows comes from the ledger."""
    opened = Opened(**SCREENED)
    for period in range(2):
        opened.play(until=period)
    assert digests({key.name: opened.ledger.entries(key) for key in opened.head.lineages}) == whole


def test_in_a_worker_and_in_processes_of_their_own_they_decide_alike() -> None:
    """Up to period 0 in this process, the rest in a worker; in both, defenses have processes of their own."""
    opened = Opened(**SCREENED | {"in_process": False})
    for period, workers in enumerate((0, 1)):
        play(opened.head, opened.scenario, opened.registry, opened.ledger, until=period, processes=workers)
    same = {"scenario": opened.records()[0].scenario}
    beside = Opened(**SCREENED)
    expected = [record.model_copy(update=same) for record in _records_of(beside.play())]
    assert _records_of({key.name: opened.ledger.entries(key) for key in opened.head.lineages}) == expected


def _records_of(played: Played) -> list[PeriodRecord]:
    return [entry.record for entries in played.values() for entry in entries]


#: the champion of period 2 is rolled back to version 1, of period 1
BACK = KEYS | {
    "defenses": [clearing("inspector", "keep"), clearing("inspector", "clear"), clearing("filter", "clear")],
    "policy": {"use": "scripted", "periods": [1, 2, 4]},
    "twins": [],
    "attack": {"use": "none"},
    "campaign": {"use": "none"},
}


def calls(record: PeriodRecord) -> dict[str, int]:
    states = record.state["platform"]["defense_states"]
    return {name: state["values"]["calls"] for name, state in states.items()}


@pytest.mark.parametrize("who", ["gate", "operator"])
def test_a_roll_back_to_before_a_state_clears_it_where_the_class_says_so(who: str) -> None:
    """The inspectors look once in each period, the filter in periods 0, 1, 2 and 4."""
    gate = {"use": "scripted", "roll_back": [3] if who == "gate" else []}
    opened = Opened(**BACK, gate=gate)
    opened.play(until=3)
    if who == "operator":
        assert calls(opened.records()[3]) == {"scripted": 4, "scripted-2": 4, "scripted-3": 3}
        roll_back(opened.head, opened.registry, opened.ledger, "main", 1, "customers complain")
    else:
        assert calls(opened.records()[3]) == {"scripted": 4}
    opened.play()
    assert calls(opened.records()[4]) == {"scripted": 5, "scripted-2": 1, "scripted-3": 1}


def test_a_roll_back_to_a_version_as_old_as_the_state_leaves_it() -> None:
    """The filter has last looked in period 1, in which version 1 was trained."""
    keys = BACK | {"policy": {"use": "scripted", "periods": [1, 3]}, "periods": 3}
    opened = Opened(**keys, gate={"use": "scripted", "reject": [3]})
    opened.play(until=1)
    assert calls(opened.records()[1])["scripted-3"] == 2
    roll_back(opened.head, opened.registry, opened.ledger, "main", 0, "to the base")
    opened.play(until=2)
    assert "scripted-3" not in calls(opened.records()[2])
    roll_back(opened.head, opened.registry, opened.ledger, "main", 1, "and on again")
    opened.play()
    assert calls(opened.records()[3])["scripted-3"] == 1
