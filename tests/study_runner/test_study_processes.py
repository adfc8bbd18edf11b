"""Studies played by worker processes: the same records as in this process, whatever becomes of a neighbour."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.errors import RunHeldError, ScenarioError, StoreError, WorkerError
from simulator.loop.run import open_run, play
from simulator.production.registry.folder import FolderLedger
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.study.examine import columns_of, readings_of
from simulator.study.executors.base import Executor
from simulator.study.executors.processes import Processes
from simulator.study.expand import timelines_of
from simulator.study.model import Study
from simulator.study.play import play_here, read_timeline, timelines_folder
from simulator.study.progress import StudyEvent
from simulator.study.run import UnfinishedStudy, play_study, read_study
from simulator.study.tables import read_table
from simulator.study.timelines import PlayedTimeline
from simulator.system.holder import Holder

MakeStudy = Callable[..., Study]
Played = tuple[Study, Path, list[PlayedTimeline], list[StudyEvent]]

#: what a timeline takes is no result
_TIMES = {"seconds"}

PLUGINS = """
import os
from simulator.errors import ScenarioError
from simulator.production.policy import Policy

class Dies(Policy):
    def decide(self, view):
        os._exit(3)

class Refuses(Policy):
    def decide(self, view):
        raise ScenarioError("expected better data, got these; give others")

class Fails(Policy):
    def decide(self, view):
        raise RuntimeError("no such thing")
"""


def digests(played: PlayedTimeline) -> dict[str, list[str]]:
    return {line: [entry.sha256 for entry in entries] for line, entries in played.entries.items()}


def without_times(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key not in _TIMES} for row in rows]


@pytest.fixture(scope="module")
def played(tiny_study: MakeStudy, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The tiny study, played by two processes with a shared cache."""
    folder, events = tmp_path_factory.mktemp("study"), []
    study = tiny_study()
    found = play_study(study, folder / "out", Processes(2), folder / "cache", events.append)
    return study, folder / "out", found, events


def test_every_timeline_is_there_in_the_order_of_the_study(played: Played) -> None:
    study, _, found, _ = played
    assert [one.timeline for one in found] == list(timelines_of(study))
    assert all(set(one.entries) == {one.timeline.arm, f"{one.timeline.arm}.twin"} for one in found)
    assert all(len(entries) == 3 for one in found for entries in one.entries.values())


def test_the_records_are_those_of_a_run_in_this_process(played: Played) -> None:
    for one in played[2]:
        registry, ledger = MemoryRegistry(), MemoryLedger()
        head = open_run(one.timeline.scenario, registry, ledger, one.timeline.name)
        alone = play(head, one.timeline.scenario, registry, ledger, processes=0)
        assert digests(one) == {line: [entry.sha256 for entry in entries] for line, entries in alone.items()}


def test_what_happened_is_told(played: Played) -> None:
    events = played[3]
    assert [event.kind for event in events if event.kind.startswith("study")] == ["study-started", "study-finished"]
    assert {event.timeline for event in events if event.kind == "timeline-finished"} == {
        "slow-s0", "slow-s1", "fast-s0", "fast-s1",
    }  # fmt: skip
    assert events[-1].counts == "computed 4 of 4 timelines, found 0"
    assert events[0].left is None
    assert events[-1].left == 0


def test_base_models_are_trained_once(played: Played) -> None:
    """Both arms of a seed have one base model, and one poisoned base model: the second arm finds them."""
    counts = [one.beside["memo"]["training"] for one in played[2]]
    assert sum(found["recalled"] for found in counts) == 4
    assert sum(found["computed"] for found in counts) == 4 * 2 * 3 - 4


def test_what_can_be_claimed_is_what_the_table_holds(played: Played) -> None:
    """What is known before the run are the columns in which some number stands, or could have stood."""
    study, folder, _, _ = played
    scenario = timelines_of(study)[0].scenario
    rows, known = read_table(folder, "timelines"), columns_of(scenario, {})
    measured = {key for row in rows for key, value in row.items() if isinstance(value, int | float)}
    assert measured - {"seed"} <= known <= rows[0].keys()
    entries = [entry for one in played[2] for entry in one.entries[one.timeline.arm]]
    assert {name for entry in entries for name in entry.record.readings} == readings_of(scenario)


def test_what_is_complete_is_found_again(played: Played) -> None:
    study, folder, found, _ = played
    before, events = read_table(folder, "timelines"), []
    again = play_study(study, folder, Processes(2), None, events.append)
    assert events[-1].counts == "computed 0 of 4 timelines, found 4"
    assert [digests(one) for one in again] == [digests(one) for one in found]
    assert read_table(folder, "timelines") == before
    assert read_study(folder) == study


def test_a_half_played_timeline_is_begun_anew(played: Played, here: Executor) -> None:
    study, folder, found, _ = played
    before = read_table(folder, "timelines")
    half = timelines_folder(folder) / "fast-s1"
    (half / "beside.json").unlink()
    (half / "fast.twin" / "0002.json").unlink()
    events: list[StudyEvent] = []
    again = play_study(study, folder, here, None, events.append)
    assert events[-1].counts == "computed 1 of 4 timelines, found 3"
    assert [digests(one) for one in again] == [digests(one) for one in found]
    assert without_times(read_table(folder, "timelines")) == without_times(before)


def test_another_study_in_the_folder_is_refused(played: Played, tiny_study: MakeStudy) -> None:
    folder = played[1]
    with pytest.raises(ScenarioError, match="to hold this study or none, got one that differs in seeds"):
        play_study(tiny_study(seeds=[0, 1, 2]), folder, Processes(1), None)


def test_a_timeline_of_another_scenario_is_refused(played: Played, tiny_study: MakeStudy) -> None:
    other = timelines_of(tiny_study(set={"periods": 1}))[0]
    with pytest.raises(StoreError, match="to be played from the scenario of 'slow' at seed 0, got another"):
        read_timeline(played[1], other)


def test_a_folder_that_is_being_played_is_refused(tiny_study: MakeStudy, tmp_path: Path) -> None:
    holder = FolderLedger(tmp_path)
    holder.hold("timelines")
    with pytest.raises(RunHeldError, match=f"expected the study in {tmp_path} to be free"):
        play_study(tiny_study(), tmp_path, Processes(1), None)
    holder.release()


def test_a_timeline_that_fails_keeps_no_other_from_being_played(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_policies.py").write_text(PLUGINS)
    monkeypatch.syspath_prepend(tmp_path)
    kinds = {name.lower(): {"policy": {"use": f"failing_policies:{name}"}} for name in ("Dies", "Refuses", "Fails")}
    study = tiny_study({"arms": {**kinds, "steady": {}}}, seeds=[0])
    events: list[StudyEvent] = []
    with pytest.raises(UnfinishedStudy) as caught:
        play_study(study, tmp_path / "out", Processes(1), None, events.append)
    told = {event.timeline: event.sentence for event in events if event.kind == "timeline-failed"}
    assert told["dies-s0"].startswith(
        "expected the worker of timeline 'dies-s0' to answer, got its end (exit status 3)"
    )
    assert told["refuses-s0"] == "expected better data, got these; give others"
    assert told["fails-s0"].startswith(
        "expected policy 'failing_policies:Fails' to work in period 1 of arm 'fails', got RuntimeError: no such thing ("
    )
    assert events[-1].counts == "computed 1 of 4 timelines, found 0, failed 3"
    assert [one.timeline.name for one in caught.value.played] == ["steady-s0"]
    assert caught.value.exit_code == WorkerError.exit_code
    assert [row["timeline"] for row in read_table(tmp_path / "out", "timelines")] == ["steady-s0"]


def test_exit_code_of_a_scenario_that_fails_when_played() -> None:
    failed = UnfinishedStudy([(f"main-s{seed}", ScenarioError("expected x")) for seed in range(5)], [])
    assert failed.exit_code == 2
    assert str(failed) == "timelines 'main-s0', 'main-s1', 'main-s2' and 2 more: expected x"


def test_nothing_is_trained_for_a_study_with_a_mistake(tiny_study: MakeStudy, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="did you mean 'fast'"):
        play_study(tiny_study(quick={"seeds": [0], "settings": ["fats"]}), tmp_path / "out", Processes(1), None)
    assert list(tmp_path.iterdir()) == []


def test_a_timeline_that_another_process_plays_is_refused(tiny_study: MakeStudy, tmp_path: Path) -> None:
    timeline = timelines_of(tiny_study())[0]
    holder = FolderLedger(timelines_folder(tmp_path))
    holder.hold(timeline.name)
    with pytest.raises(RunHeldError, match=r"expected timeline 'slow-s0' to be free, .*; wait for it"):
        play_here(timeline, tmp_path, None)
    holder.release()


def test_a_folder_that_another_host_holds_is_freed_by_hand(tiny_study: MakeStudy, tmp_path: Path) -> None:
    note = tmp_path / "timelines" / "writer.json"
    note.parent.mkdir()
    note.write_text(json.dumps(replace(Holder.current(), boot="another container").values()))
    with pytest.raises(RunHeldError, match=f"if that process has ended, delete {note}$"):
        play_study(tiny_study(), tmp_path, Processes(1), None)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_torn_file_beside_a_timeline_is_told(played: Played, text: str) -> None:
    study, folder, found, _ = played
    path = timelines_folder(folder) / found[0].timeline.name / "beside.json"
    whole = path.read_text()
    path.write_text(text)
    with pytest.raises(StoreError, match=f"expected {path} to hold .*; delete it"):
        read_timeline(folder, timelines_of(study)[0])
    path.write_text(whole)


def test_a_note_that_was_torn_is_told(tiny_study: MakeStudy, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"study": {"name": "x"}}))
    with pytest.raises(StoreError, match="to hold a study, got"):
        play_study(tiny_study(), tmp_path, Processes(1), None)


def test_workers_below_one_are_refused() -> None:
    with pytest.raises(ScenarioError, match="expected workers to be at least 1, got 0"):
        Processes(0)
