"""What `ebbdoor status` says of runs, over a real SQLite MLflow."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from flows.cli import main
from flows.operate.reconcile import reconcile
from flows.operate.status import run_status
from flows.operate.wording import Ask, committed_words
from flows.runs.queue import waiting_runs
from simulator.production.registry.base import StoredRun
from simulator.production.registry.entries import head_text
from simulator.records import LineageEnd
from simulator.system.holder import Holder


def rows(kept: Any) -> dict[str, dict[str, str]]:
    return {row["run"]: row for row in run_status(kept.workspace)}


def test_every_run_is_there_with_where_it_stands(kept: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = kept.dump()
    with pytest.raises(SystemExit) as exited:
        main(["status", "--format", "json"])
    assert not exited.value.code
    assert json.loads(capsys.readouterr().out) == [
        {
            "run": "part",
            "state": "open",
            "committed": "0 of 1",
            "serves": "main: version 1",
            "holder": "nobody",
            "waits for": "`ebbdoor resume runs/part`",
        },
        {
            "run": "whole",
            "state": "finished",
            "committed": "1 of 1",
            "serves": "main: version 2",
            "holder": "nobody",
            "waits for": "nothing: finished",
        },
    ]
    assert kept.dump() == before


def test_a_run_whose_process_died_is_interrupted_whatever_mlflow_says(kept: Any) -> None:
    kept.kill_in_period_one()
    assert set(kept.words("part").values()) == {("running", "RUNNING")}
    row = rows(kept)["part"]
    # the twin has committed period 1, its arm has not
    assert (row["state"], row["committed"]) == ("interrupted", "0 of 1 in 'main', which is furthest behind")
    assert row["holder"] == f"process {kept.dead.pid}, here, dead"
    assert row["waits for"] == "`ebbdoor reconcile`; `ebbdoor resume runs/part`"


@pytest.mark.parametrize(
    ("committed", "ended", "words"),
    [
        ({"main": 3, "main.twin": 3}, (), "2 of 6"),
        ({"main": 4, "main.twin": 3}, (), "2 of 6 in 'main.twin', which is furthest behind"),
        ({"slow": 1, "fast": 0}, (), "not even period 0, of 6 in 'fast', which is furthest behind"),
        ({"slow": 2, "fast": 5}, ("slow",), "4 of 6; 'slow' diverged in period 2"),
        (
            {"slow": 2, "fast": 4},
            ("slow", "fast"),
            "3 of 6 in 'fast', which is furthest ahead; 'slow' diverged in period 2; 'fast' diverged in period 4",
        ),
    ],
)
def test_a_count_of_updates_says_whose_it_is_where_lineages_differ(
    committed: dict[str, int], ended: tuple[str, ...], words: str
) -> None:
    ends = tuple(
        LineageEnd(run="r", arm=name, control="none", period=committed[name], why="not finite") for name in ended
    )
    assert committed_words(StoredRun("r", "running", committed, ended=ends), 6) == words


def test_a_run_that_is_held_is_being_played_as_far_as_can_be_known(kept: Any, elsewhere: Holder) -> None:
    kept.hold("part", Holder.current())
    kept.hold("whole", elsewhere)
    found = rows(kept)
    assert found["part"]["holder"] == f"process {os.getpid()}, here, alive"
    assert (found["part"]["state"], found["part"]["waits for"]) == ("running", "nothing: it is being played")
    assert found["whole"]["holder"] == f"process {elsewhere.pid} on host 'another-host', unknown"


def test_a_live_run_waits_for_its_next_period(kept: Any) -> None:
    _, ledger = kept.stores()
    head = ledger.head("part")
    (parent,) = kept.client.search_runs([kept.experiment()], "tags.run = 'part' AND attributes.run_name = 'part'")
    live = replace(head, live={"every": 3600.0, "since": "2999-01-01T00:00:00+00:00"})
    kept.client.log_text(parent.info.run_id, head_text(live), "head.json")
    assert rows(kept)["part"]["waits for"] == "period 1, due 2999-01-01 01:00:00 UTC"


def test_a_run_whose_head_is_torn_hides_no_other(kept: Any) -> None:
    (parent,) = kept.client.search_runs([kept.experiment()], "tags.run = 'part' AND attributes.run_name = 'part'")
    kept.client.log_text(parent.info.run_id, "{", "head.json")
    found = rows(kept)
    assert (found["part"]["committed"], found["whole"]["committed"]) == ("0 updates", "1 of 1")
    assert found["part"]["waits for"].startswith("expected head.json of run 'part'")
    (torn,) = waiting_runs(kept.workspace)  # nor does it keep others from being advanced
    assert not torn.due.ready
    assert torn.due.words == found["part"]["waits for"]


def test_a_run_whose_scenario_cannot_be_read_hides_no_other(kept: Any, say: Any) -> None:
    _, ledger = kept.stores()
    head = ledger.head("part")
    bad = replace(head, scenario={**head.scenario, "shadow": {"periods": "many"}})
    (parent,) = kept.client.search_runs([kept.experiment()], "tags.run = 'part' AND attributes.run_name = 'part'")
    kept.client.log_text(parent.info.run_id, head_text(bad), "head.json")
    found = rows(kept)
    assert found["whole"]["waits for"] == "nothing: finished"
    assert "expected the scenario of run 'part' in its store to be one" in found["part"]["waits for"]


@pytest.mark.parametrize(
    "note",
    ["", "{", "[]", "{}", '{"run": 7, "workspace": ".."}', "\x00"],
    ids=["empty", "torn", "a list", "no keys", "a number for a name", "a zero byte"],
)
def test_a_run_whose_note_cannot_be_read_hides_no_other(kept: Any, note: str, say: Any) -> None:
    (kept.workspace / "torn").mkdir()
    (kept.workspace / "torn" / "run.json").write_text(note)
    try:
        found = rows(kept)
        (told,) = reconcile(kept.workspace, Ask(dry_run=True), say)
        assert [one.folder.run for one in waiting_runs(kept.workspace)] == ["part"]
    finally:
        shutil.rmtree(kept.workspace / "torn")
    assert found["whole"]["waits for"] == "nothing: finished"
    assert found["torn"]["state"] == "unreadable"
    assert found["torn"]["waits for"].startswith(f"expected {kept.workspace / 'torn' / 'run.json'} to name a run")
    assert (told.run, told.now, told.next) == ("torn", "unreadable", found["torn"]["waits for"])


@pytest.mark.parametrize(
    "pid", ["", "-1", "4x", "²", "9" * 30], ids=["empty", "negative", "no number", "a raised two", "30 digits"]
)
def test_a_lock_that_names_no_process_hides_no_other(kept: Any, say: Any, pid: str) -> None:
    kept.hold("part", replace(kept.dead, pid=pid))
    found = rows(kept)
    assert "expected the registered model 'ebbdoor.part.writer_lock' to name a host" in found["part"]["waits for"]
    assert found["whole"]["waits for"] == "nothing: finished"
    (told,) = reconcile(kept.workspace, Ask(), say)
    assert told.done.startswith("left alone: expected the registered model")


def test_a_champion_moved_by_hand_is_told(kept: Any) -> None:
    kept.client.set_registered_model_alias("ebbdoor.whole.main", "champion", "1")
    row = rows(kept)["whole"]
    assert row["serves"] == "main: version 2"
    assert "the alias 'champion' of 'main' was moved by hand to version 1" in row["waits for"]


def test_the_list_of_runs_has_those_of_the_status_wherever_their_folders_are(
    kept: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """One whose folder lies elsewhere (--out), one of other stores, one whose note is torn."""
    notes = (("stranger", {"run": "stranger", "workspace": "..", "tracking_uri": None}), ("torn", []))
    for name, note in notes:
        (kept.workspace / name).mkdir()
        (kept.workspace / name / "run.json").write_text(json.dumps(note))
    try:
        with moved_away(kept, "whole"), pytest.raises(SystemExit):
            main(["list", "runs", "--format", "json"])
        listed = json.loads(capsys.readouterr().out)
        found = rows(kept)
    finally:
        for name, _ in notes:
            shutil.rmtree(kept.workspace / name)
    assert sorted((row["name"], row["state"]) for row in listed) == [
        ("part", "open"), ("stranger", "not stored"), ("torn", "unreadable"), ("whole", "finished"),
    ]  # fmt: skip
    assert {row["name"]: row["folder"] for row in listed}["whole"] == "not in this workspace"
    assert [(row["name"], row["state"]) for row in listed] == [(run, row["state"]) for run, row in found.items()]
    assert found["stranger"]["waits for"].startswith("its records are not in the stores in use")


def test_without_runs_the_table_is_empty(kept: Any, capsys: pytest.CaptureFixture[str]) -> None:
    registry, ledger = kept.stores()
    for state in ledger.runs():
        registry.delete(state.run)
    with moved_away(kept, "whole", "part"):
        for arguments, printed in ((["status", "--format", "json"], "[]\n"), (["status"], "run  state  committed")):
            with pytest.raises(SystemExit):
                main(arguments)
            out, err = capsys.readouterr()
            assert out.startswith(printed)
            assert "no run yet" in err


@contextmanager
def moved_away(kept: Any, *names: str) -> Iterator[None]:
    """Have the folders of these runs lie outside of the workspace, which later tests use too."""
    elsewhere = kept.workspace.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    for name in names:
        shutil.move(kept.workspace / name, elsewhere / name)
    try:
        yield
    finally:
        for name in names:
            shutil.move(elsewhere / name, kept.workspace / name)
