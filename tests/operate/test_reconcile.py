"""Runs that nobody works on any more, over a real SQLite MLflow: closed with the truth, and once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flows.cli import main
from flows.operate.reconcile import _following, reconcile
from flows.operate.wording import Ask, Row
from simulator.production.registry.entries import head_text
from simulator.records import LineageKey
from simulator.system.holder import Holder

TWIN = LineageKey(arm="main", control="paced")
Say = Callable[[str], None]


@pytest.fixture
def killed(kept: Any) -> Any:
    kept.kill_in_period_one()
    return kept


def call_running(kept: Any, run: str) -> None:
    """Let MLflow call a run running."""
    for item in kept.client.search_runs([kept.experiment()], f"tags.run = '{run}'"):
        kept.client.set_tag(item.info.run_id, "status", "running")
        kept.client.update_run(item.info.run_id, "RUNNING")


def only(rows: list[Row], run: str) -> Row:
    (row,) = rows
    assert (row.where, row.run) == ("MLflow", run)
    return row


def test_what_the_helper_leaves_is_what_a_kill_leaves(killed: Any) -> None:
    assert killed.words("part") == dict.fromkeys(("part", "main", "main.twin"), ("running", "RUNNING"))
    assert [killed.versions("part", line) for line in (LineageKey(arm="main"), TWIN)] == [[0, 1], [0, 1]]
    assert killed.aliases("part", TWIN) == {"champion": 1, "previous": 0}
    assert "ebbdoor.part.writer_lock" in killed.models()


def test_a_killed_run_is_closed_as_interrupted_at_what_all_its_lines_have_committed(killed: Any, say: Say) -> None:
    row = only(reconcile(killed.workspace, Ask(), say), "part")
    assert (row.was, row.now) == ("running", "interrupted")
    assert row.next == "`ebbdoor resume runs/part`"
    for words in (
        "closed as interrupted",
        f"the lock of process {killed.dead.pid}, which has ended",
        "period 1 of 'main.twin', which its arm has not committed",
        "version 2 of 'main', of period 1, which is not committed",
        "the alias 'previous' of 'main.twin', which names nothing",
    ):
        assert words in row.done
    assert killed.words("part") == dict.fromkeys(("part", "main", "main.twin"), ("interrupted", "KILLED"))
    _, ledger = killed.stores()
    for line in ledger.head("part").lineages:
        assert len(ledger.entries(line)) == 1
        assert killed.versions("part", line) == [0]
        assert killed.aliases("part", line) == {"champion": 0}
    assert not any("lock" in name for name in killed.models())


def test_a_run_whose_defense_cannot_be_imported_hides_no_other(killed: Any, say: Say) -> None:
    _, ledger = killed.stores()
    head = ledger.head("whole")
    bad = replace(head, scenario={**head.scenario, "defenses": [{"use": "nowhere_at_all:Defense"}]})
    (parent,) = killed.client.search_runs([killed.experiment()], "tags.run = 'whole' AND attributes.run_name = 'whole'")
    killed.client.log_text(parent.info.run_id, head_text(bad), "head.json")
    call_running(killed, "whole")
    rows = {row.run: row for row in reconcile(killed.workspace, Ask(), say)}
    assert (rows["part"].was, rows["part"].now) == ("running", "interrupted")
    assert rows["whole"].done.startswith("left alone: ")
    assert "nowhere_at_all" in rows["whole"].done


def test_reconciled_again_there_is_nothing_to_do(killed: Any, say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(reconcile(killed.workspace, Ask(), say)) == 1
    before = killed.dump()
    main_exits_with(0, "reconcile", "--format", "json")
    out, err = capsys.readouterr()
    assert json.loads(out) == []
    assert "nothing to do" in err
    assert "Prefect was not looked at: no server is known" in err
    assert killed.dump() == before


def test_a_dry_run_says_the_same_and_changes_nothing(killed: Any, say: Say) -> None:
    before = killed.dump()
    dry = only(reconcile(killed.workspace, Ask(dry_run=True), say), "part")
    assert killed.dump() == before
    wet = only(reconcile(killed.workspace, Ask(), say), "part")
    assert (dry.was, dry.now) == ("running", "running")
    assert dry.done == wet.done.replace("closed", "would be closed", 1).replace("put right", "would be put right", 1)


def test_a_run_whose_periods_are_all_committed_is_finished_and_its_report_written(kept: Any, say: Say) -> None:
    call_running(kept, "whole")
    kept.hold("whole", kept.dead)
    (kept.workspace / "whole" / "report.html").unlink()
    (kept.workspace / "whole" / "run.json").write_text(
        (kept.workspace / "whole" / "run.json").read_text().replace('"finished": true', '"finished": false')
    )
    row = only(reconcile(kept.workspace, Ask(), say), "whole")
    assert (row.was, row.now, row.next) == ("running", "finished", "nothing: finished")
    assert set(kept.words("whole").values()) == {("finished", "FINISHED")}
    assert (kept.workspace / "whole" / "report.html").is_file()
    assert json.loads((kept.workspace / "whole" / "run.json").read_text())["finished"] is True


def test_a_run_that_nobody_holds_and_that_is_half_closed_is_closed(kept: Any, say: Say) -> None:
    (parent,) = kept.client.search_runs([kept.experiment()], "tags.run = 'part' AND attributes.run_name = 'part'")
    kept.client.update_run(parent.info.run_id, "RUNNING")  # killed after the lines were closed
    assert only(reconcile(kept.workspace, Ask(), say), "part").now == "interrupted"
    assert set(kept.words("part").values()) == {("interrupted", "KILLED")}


def test_an_alias_that_was_moved_by_hand_is_told_and_put_back_only_when_asked(kept: Any, say: Say) -> None:
    name = "ebbdoor.whole.main"
    number = kept.client.get_model_version_by_alias(name, "previous").version
    kept.client.set_registered_model_alias(name, "champion", number)
    row = only(reconcile(kept.workspace, Ask(), say), "whole")
    assert "left alone: the alias 'champion' of 'main' was moved by hand to version 1" in row.done
    assert row.next == "`ebbdoor reconcile --restore whole` undoes it"
    assert kept.aliases("whole")["champion"] == 0
    assert "put back" in only(reconcile(kept.workspace, Ask(restore="whole"), say), "whole").done
    assert kept.aliases("whole") == {"champion": 1, "previous": 0}


def test_a_run_that_a_living_process_holds_is_left_alone(kept: Any, say: Say) -> None:
    kept.kill_in_period_one(Holder.current())
    before = kept.dump()
    for ask in (Ask(), Ask(take_over=True)):
        row = only(reconcile(kept.workspace, ask, say), "part")
        assert f"being worked on by process {os.getpid()}" in row.done
    assert kept.dump() == before


def test_what_another_host_holds_is_left_alone_until_told_otherwise(kept: Any, say: Say, elsewhere: Holder) -> None:
    kept.kill_in_period_one(elsewhere)
    before = kept.dump()
    row = only(reconcile(kept.workspace, Ask(), say), "part")
    assert f"held by process {elsewhere.pid} on host 'another-host'" in row.done
    assert "--take-over" in row.next
    assert kept.dump() == before
    assert only(reconcile(kept.workspace, Ask(take_over=True), say), "part").now == "interrupted"
    assert kept.aliases("part", TWIN) == {"champion": 0}


def test_what_a_killed_delete_left_is_removed(kept: Any, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator.production.registry.mlflow.client import Store

    registry, _ = kept.stores()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "remove_files", interrupted)
        with pytest.raises(KeyboardInterrupt):
            registry.delete("part")
    row = only(reconcile(kept.workspace, Ask(), say), "part")
    assert "the registered model ebbdoor.part.main" in row.done
    assert "the files of version 1 of 'main.twin'" in row.done
    assert kept.words("part") == {}
    assert kept.versions("part") == []
    assert kept.models() == {"ebbdoor.whole.main", "ebbdoor.whole.main.twin"}
    assert reconcile(kept.workspace, Ask(), say) == []


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_an_opening_that_was_cut_short_is_taken_back(kept: Any, say: Say) -> None:
    from dataclasses import replace

    registry, ledger = kept.stores()
    head = replace(ledger.head("part"), run="begun")
    kept.hold("begun", kept.dead)
    registry.open(head)
    row = only(reconcile(kept.workspace, Ask(), say), "begun")
    assert (row.was, row.now) == ("opening", "removed")
    assert kept.words("begun") == {}
    assert not any("begun" in name for name in kept.models())


def test_the_lock_of_a_killed_take_over_is_removed(kept: Any, say: Say) -> None:
    tags = {"run": "part", **kept.dead.values()}
    kept.client.create_registered_model("ebbdoor.part.writer_lock.0123abcd", tags=tags)
    row = only(reconcile(kept.workspace, Ask(), say), "part")
    assert (row.was, row.now) == ("open", "open")
    assert "writer_lock.0123abcd" in row.done
    assert not any("lock" in name for name in kept.models())


def test_a_run_whose_head_is_torn_does_not_keep_others_from_being_closed(killed: Any, say: Say) -> None:
    (parent,) = killed.client.search_runs([killed.experiment()], "tags.run = 'whole' AND attributes.run_name = 'whole'")
    killed.client.log_text(parent.info.run_id, "{", "head.json")
    rows = {row.run: row for row in reconcile(killed.workspace, Ask(), say)}
    assert "left alone: expected head.json of run 'whole'" in rows["whole"].done
    assert rows["part"].now == "interrupted"


def main_exits_with(code: int, *arguments: str) -> None:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert (exited.value.code or 0) == code


@pytest.mark.parametrize(
    ("stamped", "committed", "after"),
    [
        ("audit:models:/m/1", "models keep what was found about them", "begin it again"),
        ("study:permanence", "the study's folder keeps what is complete", "begin it again: it goes on"),
        ("never-opened", "nothing is committed", "begin it again"),
        ("part", "updates committed: 0 of 1", "`ebbdoor resume DIR`"),
    ],
)
def test_what_a_flow_run_leaves_is_said_by_what_it_played(kept: Any, stamped: str, committed: str, after: str) -> None:
    said, following = _following(kept.workspace, {})(stamped)
    assert said == committed
    assert following.startswith(after.removesuffix("`"))
