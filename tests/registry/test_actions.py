"""What is done from outside, and what a ledger tells of its runs: one behaviour in memory, in a folder, in MLflow."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import StoreError
from simulator.production.lineage import LineageState
from simulator.production.registry.base import Entry, Ledger, Registry, RunHead
from simulator.production.registry.folder import FolderLedger
from simulator.records import Action, LineageKey, PeriodRecord

Record = Callable[..., PeriodRecord]
Reopen = Callable[[], Ledger]
MAIN = LineageKey(arm="main")
BACK = Action(
    run="r1", arm="main", period=1, number=0, kind="roll back", to=0, reason="slow", numbers={"clean/accuracy": 0.5}
)
AGAIN = Action(run="r1", arm="main", period=1, number=1, kind="retrain", reason="drift alarm")


@pytest.fixture
def ledger(reopen: Reopen, head: RunHead, record: Record) -> Ledger:
    """Two committed periods of the arm."""
    made = reopen()
    made.open(head)
    for period in range(2):
        made.commit(Entry(record(period), record(period).digest()))
    return made


def test_actions_come_back_in_their_order(ledger: Ledger, reopen: Reopen, head: RunHead, record: Record) -> None:
    assert ledger.actions("main") == []
    ledger.act(BACK, {"who": "ann", "when": "2026-01-01T00:00:00Z"})
    ledger.act(AGAIN, {})
    ledger.act(BACK, {"who": "bob"})  # again: nothing changes
    later = record(2, version=0, candidate=None)
    ledger.commit(Entry(later, later.digest()))
    third = BACK.model_copy(update={"period": 2, "to": 1})
    ledger.act(third, {})
    reader = reopen()
    reader.head("r1")
    assert reader.actions("main") == [BACK, AGAIN, third]
    assert len(reader.entries(MAIN)) == 3


@pytest.mark.parametrize("reopen", ["memory", "folder"], indirect=True)  # in MLflow it takes a minute
def test_more_than_a_hundred_actions_after_one_period_come_back_in_their_order(
    ledger: Ledger, reopen: Reopen, head: RunHead
) -> None:
    asked = [AGAIN.model_copy(update={"number": number}) for number in range(103)]
    for action in asked:
        ledger.act(action, {})
    reader = reopen()
    reader.head("r1")
    assert reader.actions("main") == asked


@pytest.mark.parametrize(
    "changes", [{"period": 0}, {"period": 2}, {"number": 1}, {"run": "r2"}, {"number": 0, "period": 7}]
)
def test_an_action_on_another_place_raises(ledger: Ledger, changes: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="an action on run 'r1' after period 1 with number 0, got one on run"):
        ledger.act(BACK.model_copy(update=changes), {})
    assert ledger.actions("main") == []


def test_another_action_of_the_same_number_raises(ledger: Ledger) -> None:
    ledger.act(BACK, {})
    with pytest.raises(StoreError, match="after period 1 with number 1, got"):
        ledger.act(BACK.model_copy(update={"reason": "another"}), {})


def test_an_action_on_an_unknown_arm_raises(ledger: Ledger) -> None:
    with pytest.raises(StoreError, match="'other' to be a line"):
        ledger.act(BACK.model_copy(update={"arm": "other"}), {})
    with pytest.raises(StoreError, match="'other' to be a line"):
        ledger.actions("other")


def test_what_is_said_beside_an_action_must_be_json(ledger: Ledger) -> None:
    with pytest.raises(StoreError, match="to be JSON values"):
        ledger.act(BACK, {"when": float("nan")})
    assert ledger.actions("main") == []


@pytest.mark.parametrize("kind", ["torn", "changed"])
@pytest.mark.parametrize("reopen", ["folder", "mlflow"], indirect=True)
def test_a_damaged_action_raises(kind: str, ledger: Ledger, reopen: Reopen, tmp_path: Path) -> None:
    ledger.act(BACK, {})
    path = next(path for path in tmp_path.rglob("*0001.00*.json"))
    text = path.read_text()
    path.write_text(text[:40] if kind == "torn" else text.replace("slow", "late"))
    reader = reopen()
    reader.head("r1")
    with pytest.raises(StoreError, match="restore the file"):
        reader.actions("main")


def test_runs_say_where_they_stand_and_who_holds_them(ledger: Ledger, reopen: Reopen) -> None:
    ledger.hold("r1")
    reader = reopen()
    (found,) = reader.runs()
    assert (found.run, dict(found.committed)) == ("r1", {"main": 2, "main.twin": 0})
    assert found.holder == reader.holder("r1")
    assert found.holder is not None
    assert found.holder.pid == str(os.getpid())
    ledger.release()
    assert reader.holder("r1") is None
    assert reader.runs()[0].holder is None


def test_a_ledger_without_runs_has_none(reopen: Reopen) -> None:
    assert reopen().runs() == []
    assert reopen().holder("r9") is None


@pytest.mark.parametrize("reopen", ["folder", "mlflow"], indirect=True)
def test_the_newest_run_comes_first(reopen: Reopen, head: RunHead) -> None:
    for number, run in enumerate(("b", "c", "a")):
        ledger = reopen()
        ledger.open(replace(head, run=run))
        if isinstance(ledger, FolderLedger):  # files written in one clock tick would not say which came first
            os.utime(ledger._folder / run / "head.json", (number, number))
    assert [state.run for state in reopen().runs()] == ["a", "c", "b"]


def test_runs_in_mlflow_have_their_status_word(
    stores: tuple[Registry, Ledger], head: RunHead, payload: Callable[..., Any]
) -> None:
    registry, ledger = stores
    registry.open(head)
    assert ledger.runs()[0].status == "opening"
    ledger.open(head)
    assert ledger.runs()[0].status == "running"
    registry.finish("open", {})
    assert ledger.runs()[0].status == "open"
    registry.register(payload(0))
    assert ledger.runs()[0].status == "running"
    registry.finish("interrupted", {})
    assert ledger.runs()[0].status == "interrupted"


def test_a_roll_back_tags_the_version_that_is_left_and_moves_the_aliases(
    stores: tuple[Registry, Ledger], client: Any, head: RunHead, payload: Callable[..., Any], record: Record
) -> None:
    registry, _ = stores
    registry.open(head)
    for period in range(2):
        registry.register(payload(period))
        registry.publish(record(period), {}, LineageState(tuple(range(period + 1)), period))
    for _ in range(2):  # twice is as once
        registry.roll_back(MAIN, BACK, LineageState((0, 1, 0)))
    assert client.get_registered_model("ebbdoor.r1.main").aliases == {"champion": 1, "previous": 2}
    assert client.get_model_version("ebbdoor.r1.main", "2").tags["rolled_back"] == "after period 1, to version 1: slow"
    with pytest.raises(StoreError, match="version 6 of 'main'"):
        registry.roll_back(MAIN, BACK, LineageState((0, 1, 5)))
