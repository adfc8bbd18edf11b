"""Training that diverges ends its own arm, or its twin, in the period in which it does; everything else is played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import DivergedError, ScenarioError
from simulator.loop.actions import request_retraining, roll_back
from simulator.loop.run import open_run, play
from simulator.observer.export import read_run, write_run
from simulator.observer.summary import summarise
from simulator.observer.verdict import verdicts
from simulator.production.registry.base import going
from simulator.production.registry.folder import FolderLedger
from simulator.production.registry.memory import MemoryRegistry
from simulator.production.training.job import Job, Trained
from simulator.production.update import FITTED, fitted
from simulator.scenario.model import Scenario
from tests.timeline.conftest import SMALL, Opened, digests, play_in_memory

#: one step of this size leaves nothing finite, in whatever period it is taken
HUGE = {"use": "constant", "rate": 1e30}
ARMS = {"hot": {"recipe.update.schedule": HUGE}, "calm": {}, "zero": {"recipe.base.schedule": HUGE}}


def three_arms(**keys: Any) -> Opened:
    return Opened(arms=ARMS, periods=2, **keys)


def test_an_arm_ends_in_the_period_in_which_it_diverges_and_the_others_are_whole() -> None:
    run = three_arms()
    played = run.play()
    assert {name: len(entries) for name, entries in played.items()} == {
        "hot": 1,
        "hot.twin": 1,
        "calm": 3,
        "calm.twin": 3,
        "zero": 0,
        "zero.twin": 0,
    }
    assert [(end.lineage.name, end.period) for end in run.ledger.ends()] == [("hot", 1), ("zero", 0)]
    assert all("expected training to stay finite" in end.why for end in run.ledger.ends())
    assert list(going(played, run.ledger.ends())) == ["calm", "calm.twin"]


def test_what_is_registered_is_what_is_committed() -> None:
    run = three_arms()
    run.play()
    assert {key.name: sorted(found) for key, found in run.registry.versions.items()} == {
        "hot": [0],
        "hot.twin": [0],
        "calm": [0, 1, 2],
        "calm.twin": [0, 1, 2],
        "zero": [],
        "zero.twin": [],
    }


def test_interrupted_or_not_and_in_any_processes_the_records_and_ends_are_the_same() -> None:
    whole, parts = three_arms(), three_arms()
    for until in (0, 1):
        parts.play(until)
    assert digests(whole.play()) == digests(parts.play())
    assert whole.ledger.ends() == parts.ledger.ends()
    assert digests(whole.play()) == digests(play_in_memory(whole.scenario, processes=2))


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"gate": {"use": "accuracy", "tolerance": 0.2}}, id="a gate"),
        pytest.param({"shadow": {"periods": 1}}, id="a shadow"),
        pytest.param({"twins": ["paced", "free"]}, id="two twins"),
    ],
)
def test_a_candidate_that_is_not_finite_is_not_judged_but_ends_the_arm(keys: dict[str, Any]) -> None:
    run = Opened(arms={"hot": ARMS["hot"]}, **keys)
    run.play()
    assert [(end.lineage.name, end.period) for end in run.ledger.ends()] == [("hot", 1)]


def test_nothing_more_is_asked_of_an_arm_that_has_diverged() -> None:
    run = three_arms()
    run.play()
    with pytest.raises(ScenarioError, match="to go on, got training that diverged in period 1"):
        request_retraining(run.head, run.ledger, "hot", "why not")
    with pytest.raises(ScenarioError, match="expected arm 'hot' of run 'run' to go on"):
        roll_back(run.head, run.registry, run.ledger, "hot", reason="why not")


class Twins:
    """Trains as the platform does, but for the training of number `diverges`, counted over all lineages from 0."""

    def __init__(self, diverges: int) -> None:
        self.left = diverges

    def __call__(self, job: Job) -> Trained:
        self.left -= 1
        if self.left == -1:
            raise DivergedError("expected training to stay finite, got none")
        return fitted(job)


def with_twin(until: int | None, diverges: int, run: Opened) -> Opened:
    """Play `run`; its arm and its twin train in turns, so that an odd number is a training of the twin."""
    token = FITTED.set(Twins(diverges))
    try:
        run.play(until)
    finally:
        FITTED.reset(token)
    return run


def with_readings() -> Opened:
    stream = SMALL["stream"] | {"test": 500}  # rows of every class
    source = {"use": "digits", "test_share": 0.4}
    return Opened(probes=[{"use": "attack-success"}], periods=2, stream=stream, source=source)


def test_an_arm_goes_on_without_a_twin_that_has_diverged() -> None:
    run = with_twin(None, 3, with_readings())
    assert [(end.lineage.name, end.period) for end in run.ledger.ends()] == [("main.twin", 1)]
    assert (len(run.records()), len(run.records("main.twin"))) == (3, 1)
    nets = [record.readings["backdoor/net_attack_success"] for record in run.records()]
    assert nets[0].value is not None
    assert {net.reason for net in nets[1:]} == {"training of the paced twin diverged in period 1"}
    assert all(record.readings["backdoor/attack_success"].value is not None for record in run.records())


def test_an_arm_without_its_twin_is_the_same_interrupted_or_not() -> None:
    whole = with_twin(None, 3, with_readings())
    parts = with_twin(1, 3, with_readings())
    assert digests(parts.play()) == digests(whole.play())
    assert parts.ledger.ends() == whole.ledger.ends()


def test_a_folder_tells_how_its_lineages_ended(tmp_path: Path) -> None:
    scenario = Scenario.model_validate(SMALL | {"arms": ARMS, "periods": 2})
    ledger = FolderLedger(tmp_path)
    head = open_run(scenario, MemoryRegistry(), ledger, "run")
    registry = MemoryRegistry()
    registry.open(head)
    play(head, scenario, registry, ledger, processes=0)
    again = FolderLedger(tmp_path)
    again.head("run")
    assert again.ends() == ledger.ends() == again.runs()[0].ended
    assert again.runs()[0].going == {"calm": 3, "calm.twin": 3}


def test_the_export_names_what_diverged_and_gives_it_no_verdict(tmp_path: Path) -> None:
    run = three_arms()
    played = run.play()
    write_run(tmp_path, {"name": "x"}, played, {}, run.ledger.ends())
    lines = [json.loads(line) for line in (tmp_path / "periods.jsonl").read_text().splitlines()]
    ended = [(row["arm"], row["period"], row["action"]) for row in lines if row["action"] == "diverged"]
    assert ended == [("hot", 1, "diverged"), ("zero", 0, "diverged")]
    found = read_run(tmp_path)
    assert len(found.rows) == len(lines) - 2
    assert (found.arms, list(found.summary["diverged"])) == (("hot", "calm"), ["hot", "zero"])
    told = verdicts(found.summary)
    assert told["hot"].startswith("diverged in period 1 and ended there, so there is no verdict")
    assert told["zero"].startswith("diverged in period 0 and ended there, so there is no verdict")
    assert "diverged" not in told["calm"]
    assert "diverged in period 1 and ended there" in (tmp_path / "report.html").read_text()


def test_a_run_in_which_every_base_diverged_is_exported(tmp_path: Path) -> None:
    run = Opened(recipe={**SMALL["recipe"], "base": {"epochs": 1, "batch": 32, "schedule": HUGE}})
    write_run(tmp_path, {"name": "x"}, run.play(), {}, run.ledger.ends())
    assert verdicts(read_run(tmp_path).summary)["main"].startswith("diverged in period 0 and ended there")


def test_the_follow_up_of_an_arm_that_diverged_does_not_shorten_that_of_the_others() -> None:
    run = three_arms()
    played = run.play()
    calm = {name: entries for name, entries in played.items() if name.startswith("calm")}
    assert summarise(played, run.ledger.ends())["restricted_horizon"] == summarise(calm)["restricted_horizon"]
