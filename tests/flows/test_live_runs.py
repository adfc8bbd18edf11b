"""Live runs on a real SQLite MLflow, without Prefect: opened, gone on with when due, chosen in turn."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.advance import note_request
from flows.cli import main
from flows.runs.due import Due
from flows.runs.folder import RunFolder, run_folder_of
from flows.runs.play import Stores, committed, open_place, play_place
from flows.runs.queue import Waiting, due_now, in_turn, live_values, waiting_run, waiting_runs
from simulator.errors import EbbdoorError, ScenarioError, SourceError
from simulator.loop.events import ignore, plain
from simulator.loop.run import open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.production.registry.open import open_stores
from simulator.scenario.load import load_scenario
from simulator.scenario.model import Scenario

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ALONE = ["twins=[]", "arms={main: {}}"]


@pytest.fixture
def alone(tiny: Path) -> Scenario:
    """The tiny scenario with one arm and no twin."""
    return load_scenario(str(tiny), ALONE)


def opened(workspace: Path, scenario: Scenario, run: str, every: float | None, hours_ago: float = 0.0) -> RunFolder:
    """Open a live run that began so many hours before NOW, with period 0 played."""
    place = run_folder_of(run, None, workspace)
    live = {"every": every, "since": (NOW - timedelta(hours=hours_ago)).isoformat()}
    with open_place(place, scenario, live=live) as stores:
        play_place(place, stores, wrap=plain, listen=ignore, until=0, processes=0)
    return place


def digests(ledger: Any, head: Any) -> dict[str, list[str]]:
    return {key.name: [entry.sha256 for entry in ledger.entries(key)] for key in head.lineages}


def test_a_live_run_advanced_by_fresh_processes_has_the_records_of_one_played_at_once(tiny: Path) -> None:
    scenario = load_scenario(str(tiny))
    at_once, live = (MemoryRegistry(), MemoryLedger()), (MemoryRegistry(), MemoryLedger())
    head = open_run(scenario, *at_once, "same")
    play(head, scenario, *at_once, processes=0)
    pace = {"every": 60.0, "since": NOW.isoformat()}
    slow = open_run(scenario, *live, "same", live=pace)
    for period in range(scenario.periods + 1):  # hosts are made anew in each call, so nothing is remembered
        play(slow, scenario, *live, until=period, processes=0)
    assert live[1].head("same").live == pace
    found = digests(live[1], slow)
    assert found == digests(at_once[1], head)
    assert {line: len(hashes) for line, hashes in found.items()} == dict.fromkeys(found, 3)


def test_its_pace_is_stored_once_and_it_is_not_played_at_once_by_accident(alone: Scenario, stocked: Path) -> None:
    place = run_folder_of("mine", None, stocked)
    with open_place(place, alone, live={"every": 3600.0, "since": "2026-11-22T11:00:00+00:00"}):
        pass
    with open_place(place, alone, live={"every": 5.0, "since": NOW.isoformat()}) as stores:
        assert stores.head.live == {"every": 3600.0, "since": "2026-11-22T11:00:00+00:00"}
    with (
        pytest.raises(ScenarioError, match="to be played live, as it was opened, got at once"),
        open_place(place, alone),
    ):
        pass
    with open_place(run_folder_of("other", None, stocked), alone):
        pass
    with (
        pytest.raises(ScenarioError, match="to be played at once, as it was opened, got live"),
        open_place(run_folder_of("other", None, stocked), alone, live={"every": None, "since": NOW.isoformat()}),
    ):
        pass


def test_the_bare_loop_plays_only_what_is_due(tiny: Path, stocked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = ("--no-prefect", "--processes", "0", "--display", "plain", "--set", "twins=[]", "--set", "arms={main: {}}")
    with pytest.raises(SystemExit) as ended:
        main(["simulate", str(tiny), "--live", "--every", "86400", "--out", "runs/mine", *bare])
    assert ended.value.code == 0
    assert "The run is live and waits for period 1, due 20" in capsys.readouterr().err
    place = waiting_runs(stocked)[0].folder
    with pytest.raises(SystemExit):
        main(["resume", "runs/mine", "--no-prefect", "--processes", "0"])
    assert waiting_run(place).due.period == 1


def test_a_run_is_called_by_its_clock_or_goes_on_any_time(alone: Scenario, stocked: Path) -> None:
    opened(stocked, alone, "late", 3600.0, hours_ago=1.5)
    opened(stocked, alone, "any-time", None)
    runs = {run.folder.run: run for run in waiting_runs(stocked, now=NOW)}
    assert {name: (run.live, run.due.called, run.due.ready) for name, run in runs.items()} == {
        "late": (True, True, True),
        "any-time": (True, False, True),
    }
    assert [run.folder.run for run in in_turn(runs.values())] == ["late", "any-time"]
    assert not waiting_runs(stocked, now=NOW - timedelta(hours=1))[1].due.ready  # a clock set back
    (stocked / "gone").mkdir()
    (stocked / "gone" / "run.json").write_text((stocked / "late" / "run.json").read_text().replace("late", "gone"))
    assert {run.folder.run for run in waiting_runs(stocked)} == {"late", "any-time"}  # no store knows the third


def waiting(name: str, *, live: bool, called: bool, last: int, since: datetime = NOW) -> Waiting:
    return Waiting(RunFolder(name, Path(name), Path()), live, Due(1, last, "", called=called), since)


def test_who_goes_on_first() -> None:
    ordinary = waiting("ordinary", live=False, called=False, last=6)
    older = waiting("older", live=False, called=False, last=6)
    not_yet = waiting("not yet", live=True, called=False, last=0)
    any_time = waiting("any time", live=True, called=False, last=6, since=NOW - timedelta(days=9))
    lately = waiting("lately", live=True, called=True, last=1, since=NOW - timedelta(hours=1))
    long_ago = waiting("long ago", live=True, called=True, last=1, since=NOW - timedelta(hours=2))
    assert in_turn([]) == []
    assert in_turn([ordinary, older]) == [ordinary]
    assert in_turn([ordinary, not_yet]) == []
    assert in_turn([any_time, ordinary, lately, not_yet, long_ago]) == [long_ago, lately, any_time]


@pytest.mark.parametrize(
    ("live", "every", "until", "arrivals", "sentence"),
    [
        (False, 60.0, None, None, "expected every to come with a live run, got 60 without"),
        (True, None, 3, None, "got until 3"),
        (True, 60.0, None, {"folder": "drop"}, r"got both; leave every \(60\) out"),
    ],
)
def test_what_does_not_go_together_is_refused(
    live: bool, every: float | None, until: int | None, arrivals: dict[str, Any] | None, sentence: str
) -> None:
    scenario = Scenario.model_validate({"stream": {"arrivals": arrivals}})
    with pytest.raises(ScenarioError, match=sentence):
        live_values(scenario, live, every, until)


def test_a_run_that_is_played_at_once_has_no_pace_and_a_live_one_begins_now() -> None:
    assert live_values(Scenario(), False, None, 3) is None
    before = datetime.now(UTC).replace(microsecond=0)
    values = live_values(Scenario(), True, 60.0, None)
    assert values is not None
    assert values["every"] == 60.0
    assert before <= datetime.fromisoformat(values["since"]) <= datetime.now(UTC)


def put(folder: Path, name: str, rows: int, seed: int = 0) -> None:
    """Drop a file of digits-like images, whole at once as a writer should."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 17, (rows, 8, 8), dtype=np.uint8)
    np.savez(folder / ".part.npz", images=images, labels=generator.integers(0, 10, rows))
    os.rename(folder / ".part.npz", folder / name)


def test_a_file_makes_a_period_due_once_and_a_bad_one_is_told(alone: Scenario, stocked: Path, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    tree = alone.model_dump(mode="json")
    tree["stream"]["arrivals"] = {"folder": str(drop)}
    place = opened(stocked, Scenario.model_validate(tree), "fed", None)
    assert waiting_run(place).due.words == f"period 1: a file in {drop}"
    put(drop, "20261122T120000Z.npz", 3)  # too few rows
    assert waiting_run(place).due.called
    told: list[str] = []
    with open_place(place) as stores:
        assert not due_now(stores, told.append).playable
    assert len(told) == 1
    assert "set aside 20261122T120000Z.npz" in told[0]
    put(drop, "20261122T130000Z.npz", 200, seed=1)
    with open_place(place) as stores:
        due = due_now(stores, told.append)
        assert told[1:] == []
        assert (due.playable, due.last, due.words) == (True, 1, "period 1, whose file has arrived")
        play_place(place, stores, wrap=plain, listen=ignore, until=due.last, processes=0)
        assert [len(line) for line in committed(stores).values()] == [2]
    assert waiting_run(place).due.words == f"period 2: a file in {drop}"
    with (
        pytest.raises(SourceError, match="to belong to run 'second', got run 'fed'"),
        open_place(run_folder_of("second", None, stocked), Scenario.model_validate(tree)),
    ):
        pass
    _, ledger = open_stores(tracking_uri=None, workspace=stocked)
    assert [state.run for state in ledger.runs()] == ["fed"]  # nothing was opened for the second


@pytest.fixture
def held(tiny: Path) -> Stores:
    """A run of two arms in memory, with period 0 played."""
    scenario = load_scenario(str(tiny), ["twins=[]"])
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "asked")
    play(head, scenario, registry, ledger, until=0, processes=0)
    return Stores(head, scenario, registry, ledger)


def test_a_request_is_noted_once_for_an_arm_or_for_all(held: Stores) -> None:
    assert note_request(held, "slow", "drift alarm in period 0") == ["slow"]
    assert note_request(held, None, "drift alarm in period 0") == ["fast"]
    assert note_request(held, None, "drift alarm in period 0") == []
    assert [action.reason for action in held.ledger.actions("fast")] == ["drift alarm in period 0"]
    play(held.head, held.scenario, held.registry, held.ledger, until=1, processes=0)
    assert note_request(held, "slow", "drift alarm in period 0") == ["slow"]  # of another period
    with pytest.raises(EbbdoorError, match="expected an arm of run 'asked'"):
        note_request(held, "none-such", "why")
    play(held.head, held.scenario, held.registry, held.ledger, processes=0)
    assert note_request(held, None, "too late") == []
    with pytest.raises(EbbdoorError, match="to have a period left to retrain in"):
        note_request(held, "slow", "too late")
