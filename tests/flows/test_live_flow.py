"""Live runs under Prefect: opened and advanced by flow runs, alarms told, caught up with, what the pages show."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow

from flows.advance import advance
from flows.allowed import check_in_flow
from flows.parameters import Execution
from flows.reporting.alarms import latest_alarms
from flows.reporting.away import unless_away
from flows.runs.folder import find_run_folder, run_folder_of
from flows.runs.play import open_place, play_place
from flows.runs.queue import open_when_free
from flows.simulate import simulate
from simulator.errors import RunHeldError, ScenarioError
from simulator.loop.events import ignore, plain
from simulator.loop.run import open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.production.registry.open import open_stores
from simulator.records import Decision, LineageKey, PeriodRecord, Signal
from simulator.scenario.load import load_scenario

HERE = Execution(processes=0)
ALONE: dict[str, Any] = {"twins": [], "arms": {"main": {}}}
WATCHED = {**ALONE, "policy": {"use": "never"}, "monitor": {"use": "scripted", "alarms": [1]}}


def of_flow_run(kind: str, run: FlowRun) -> list[dict[str, Any]]:
    with get_client(sync_client=True) as client:
        answer = client._client.post(f"/{kind}/filter", json={"flow_runs": {"id": {"any_": [str(run.id)]}}})
    return list(answer.json())


def newest_flow_run(name: str) -> FlowRun:
    with get_client(sync_client=True) as client:
        return max((run for run in client.read_flow_runs() if run.name == name), key=lambda run: run.created)


def alarms_of(run: str) -> list[dict[str, Any]]:
    with get_client(sync_client=True) as client:
        body = {
            "filter": {"event": {"name": ["ebbdoor.drift.alarm"]}, "resource": {"id_prefix": [f"ebbdoor.run.{run}"]}}
        }
        return list(client._client.post("/events/filter", json=body).json()["events"])


def decisions(workspace: Path, run: str) -> list[Decision]:
    _, ledger = open_stores(tracking_uri=None, workspace=workspace)
    ledger.head(run)
    return [entry.record.decision for entry in ledger.entries(LineageKey(arm="main"))]


def opened(
    workspace: Path, tiny: Path, run: str, every: float | None, seconds_ago: float, overrides: tuple[str, ...] = ()
) -> None:
    """Open a live run that began a while ago: the bare loop plays its period 0."""
    place = run_folder_of(run, None, workspace)
    live = {"every": every, "since": (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()}
    with open_place(place, load_scenario(str(tiny), ["twins=[]", "arms={main: {}}", *overrides]), live=live) as stores:
        play_place(place, stores, wrap=plain, listen=ignore, until=0, processes=0)


def test_a_live_run_tells_of_its_alarm_and_retrains_when_that_is_asked_for(
    tiny: Path, stocked: Path, prefect_server: None
) -> None:
    assert simulate(scenario=str(tiny), overrides=WATCHED, run="watched", live=True, execution=HERE)["committed"] == 0
    shown = {item["key"]: item for item in of_flow_run("artifacts", newest_flow_run("watched"))}
    assert shown.keys() == {"progress", "versions", "latest-alarm", "mlflow-run", "report", "verdict"}
    assert json.loads(shown["latest-alarm"]["data"]) == [{"arm": "main", "alarm": "none so far"}]
    assert str(stocked / "mlflow.db") in shown["mlflow-run"]["data"]
    assert str(stocked / "watched" / "report.html") in shown["report"]["data"]

    state = advance(execution=HERE, return_state=True)  # the only open run
    assert state.message == "run watched has committed period 1 of 2"
    shown = {item["key"]: item for item in of_flow_run("artifacts", newest_flow_run("watched"))}
    (row,) = json.loads(shown["latest-alarm"]["data"])
    assert (row["alarm"], row["score"], row["threshold"]) == ("in period 1", 1.0, 0.5)

    reason = "drift alarm in period 1 by scripted"
    state = advance(run="watched", arm="main", retrain=reason, periods=0, execution=HERE, return_state=True)
    assert state.message.startswith("noted that main is to retrain; run watched waits for period 2")
    state = advance(run="watched", arm="main", retrain=reason, execution=HERE, return_state=True)
    assert state.message == "that was noted before; run watched has committed period 2 of 2"
    base, kept, asked = decisions(stocked, "watched")
    assert (kept.retrain, kept.why) == (False, "never retrains")
    assert asked.retrain
    assert reason in asked.why
    assert base.why == "base training"

    deadline = time.monotonic() + 120
    while not (events := alarms_of("watched")) and time.monotonic() < deadline:
        time.sleep(0.2)
    (event,) = events
    assert event["payload"] == {
        "run": "watched",
        "arm": "main",
        "period": 1,
        "method": "scripted",
        "score": 1.0,
        "threshold": 0.5,
        "kind": None,
    }
    labels = event["resource"]
    assert (labels["prefect.resource.id"], labels["live"], labels["retrained"]) == (
        "ebbdoor.run.watched.main",
        "true",
        "false",
    )


@pytest.mark.slow
def test_a_defense_that_remembers_decides_in_flow_runs_as_in_one_process(
    tiny: Path, stocked: Path, prefect_server: None
) -> None:
    """Each period has a flow run of its own, which knows what was before from the ledger alone."""
    defenses = [
        {"use": "scripted", "surface": "filter", "remembers": True, "script": {1: "flag"}},
        {"use": "scripted", "surface": "inspector", "remembers": True, "back": 2},
    ]
    keys = {**ALONE, "defenses": defenses, "in_process": True}
    assert simulate(scenario=str(tiny), overrides=keys, run="remembers", live=True, execution=HERE)["committed"] == 0
    for period in (1, 2):
        state = advance(execution=HERE, return_state=True)
        assert f"has committed period {period} of 2" in str(state.message)
    _, ledger = open_stores(tracking_uri=None, workspace=stocked)
    ledger.head("remembers")
    stepwise = [entry.record for entry in ledger.entries(LineageKey(arm="main"))]

    scenario = load_scenario(str(tiny), [f"{name}={json.dumps(value)}" for name, value in keys.items()])
    registry, undisturbed = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, undisturbed, "whole")
    whole = [entry.record for entry in play(head, scenario, registry, undisturbed, processes=0)["main"]]
    assert [record.outcomes for record in stepwise] == [record.outcomes for record in whole]
    assert [record.state["platform"] for record in stepwise] == [record.state["platform"] for record in whole]
    assert stepwise[2].state["platform"]["defense_states"]["scripted-2"]["values"] == {"calls": 3}


def test_nothing_is_played_before_it_is_due_and_what_is_asked_for_stands(
    tiny: Path, stocked: Path, prefect_server: None
) -> None:
    opened(stocked, tiny, "daily", 86400.0, seconds_ago=10)
    assert advance(execution=HERE, return_state=True).message.startswith(
        "no live run is due; run daily waits for period 1, due 20"
    )
    for expected in ("noted that main is to retrain; run daily waits", "that was noted before; run daily waits"):
        state = advance(run="daily", retrain="because", execution=HERE, return_state=True)
        assert state.is_completed()
        assert state.message.startswith(expected)
        assert state.message.endswith("nothing was played")
    _, ledger = open_stores(tracking_uri=None, workspace=stocked)
    ledger.head("daily")
    assert [action.reason for action in ledger.actions("main")] == ["because"]


def test_after_downtime_each_period_becomes_a_flow_run_of_the_same_deployment(
    tiny: Path, stocked: Path, prefect_server: None
) -> None:
    opened(stocked, tiny, "late", 60.0, seconds_ago=600, overrides=("periods=3",))
    told = "run late has committed period {} of 3; run late is due: period {}, due since"
    message = advance(execution=HERE, return_state=True).message  # no deployment's: it is only said
    assert message.startswith(told.format(1, 2))
    assert "flow run" not in message
    deployment: UUID = advance.to_deployment("catching-up").apply()
    with get_client(sync_client=True) as client:
        first = client.create_flow_run_from_deployment(
            deployment, parameters={"execution": HERE.model_dump(mode="json")}
        )
        state = run_flow(advance, flow_run=first, parameters=first.parameters, return_type="state")
        assert state.message.startswith(told.format(2, 3))
        (second,) = [run for run in client.read_flow_runs() if run.deployment_id == deployment and run.id != first.id]
        assert f"flow run {second.name} is made for it" in state.message
        assert second.idempotency_key == "late period 3"
        assert second.parameters["run"] == str(stocked / "late")
        state = run_flow(advance, flow_run=second, parameters=second.parameters, return_type="state")
        assert state.message == "run late has committed period 3 of 3"
        assert len([run for run in client.read_flow_runs() if run.deployment_id == deployment]) == 2


OWN = """
from simulator.production.policy import Policy, PolicyView
from simulator.records import Decision


class Breaks(Policy):
    def decide(self, view: PolicyView) -> Decision:
        raise RuntimeError("no more")
"""


def test_a_run_that_fails_shows_what_it_has_committed_and_holds_up_no_other(
    tiny: Path, stocked: Path, tmp_path: Path, prefect_server: None
) -> None:
    (tmp_path / "own_breaks.py").write_text(OWN)
    opened(stocked, tiny, "broken", 60.0, seconds_ago=150, overrides=("policy={use: 'own_breaks:Breaks'}",))
    opened(stocked, tiny, "good", 60.0, seconds_ago=125)
    state = advance(execution=HERE, return_state=True)
    assert state.is_failed()
    assert "no more" in state.message
    notes = state.result(raise_on_failure=False).__notes__
    assert "beside it: run good has committed period 1 of 2" in notes
    assert any(note.startswith("beside it: run good is due: period 2") for note in notes)  # and is caught up with
    shown = of_flow_run("artifacts", newest_flow_run("good"))
    tables = [(item["description"], json.loads(item["data"])) for item in shown if item["key"] == "versions"]
    assert sorted((text.split(":")[0], len(rows)) for text, rows in tables) == [("broken", 1), ("good", 2)]


def test_a_held_run_is_waited_for_a_while(tiny: Path, stocked: Path) -> None:
    opened(stocked, tiny, "held", None, seconds_ago=0)
    place = find_run_folder("held", stocked)
    _, ledger = open_stores(tracking_uri=None, workspace=stocked)
    ledger.hold("held")
    with ExitStack() as stack, pytest.raises(RunHeldError, match="to be free"):
        open_when_free(stack, place, Execution(wait=0.6), examine=check_in_flow)
    timer = threading.Timer(1.0, ledger.release)
    timer.start()
    with ExitStack() as stack:
        assert open_when_free(stack, place, Execution(wait=60), examine=check_in_flow).head.run == "held"
    timer.join()


def test_prefect_being_away_ends_nothing_and_our_own_errors_do() -> None:
    def away() -> None:
        raise httpx.ConnectError("refused")

    def wrong() -> None:
        raise ScenarioError("ours")

    assert unless_away(away) is None
    assert unless_away(lambda: 3) == 3
    with pytest.raises(ScenarioError, match="ours"):
        unless_away(wrong)


def test_no_records_have_no_alarms() -> None:
    assert latest_alarms([]) == []


def test_an_alarm_tells_the_kind_of_drift() -> None:
    record = PeriodRecord.model_construct(
        arm="main",
        control="none",
        period=3,
        signal=Signal(method="evidently", score=0.75, threshold=0.5, alarm=True, detail={"kind": "covariate"}),
        decision=Decision(retrain=False, why="never retrains"),
    )
    assert latest_alarms([record])[0]["kind"] == "covariate"
