"""One behaviour, three ledgers: in memory, in a folder, in MLflow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import StoreError
from simulator.production.registry.base import Entry, Ledger, RunHead
from simulator.production.registry.entries import head_text, read_head
from simulator.production.registry.folder import FolderLedger
from simulator.production.registry.open import open_stores
from simulator.records import LineageKey, PeriodRecord

Record = Callable[..., PeriodRecord]
MAIN = LineageKey(arm="main")
TWIN = LineageKey(arm="main", control="paced")


def entry(record: PeriodRecord, **metadata: Any) -> Entry:
    return Entry(record, record.digest(), metadata)


def test_a_fresh_reader_finds_what_was_committed(reopen: Callable[[], Ledger], head: RunHead, record: Record) -> None:
    writer = reopen()
    writer.open(head)
    for period in range(3):
        writer.commit(entry(record(period), timing={"train": 1.25}))
    writer.commit(entry(record(0, line=TWIN)))
    reader = reopen()
    assert reader.head("r1") == head
    found = reader.entries(MAIN)
    assert [item.record for item in found] == [record(period) for period in range(3)]
    assert [item.sha256 for item in found] == [record(period).digest() for period in range(3)]
    assert found[0].metadata == {"timing": {"train": 1.25}}
    assert [item.record for item in reader.entries(TWIN)] == [record(0, line=TWIN)]


def test_periods_taken_back_can_be_committed_anew_with_other_values(
    reopen: Callable[[], Ledger], head: RunHead, record: Record
) -> None:
    ledger = reopen()
    ledger.open(head)
    for period in range(3):
        ledger.commit(entry(record(period, line=TWIN)))
    ledger.forget_after(TWIN, 0)
    assert [item.record.period for item in ledger.entries(TWIN)] == [0]
    other = record(1, line=TWIN).model_copy(update={"weights": "0" * 64})
    ledger.commit(entry(other))
    reader = reopen()
    reader.head("r1")
    assert [item.record for item in reader.entries(TWIN)] == [record(0, line=TWIN), other]
    ledger.forget_after(TWIN, 5)
    assert len(ledger.entries(TWIN)) == 2


def test_nothing_committed_is_an_empty_list(reopen: Callable[[], Ledger], head: RunHead) -> None:
    ledger = reopen()
    ledger.open(head)
    assert ledger.entries(MAIN) == []


def test_the_same_record_again_changes_nothing(reopen: Callable[[], Ledger], head: RunHead, record: Record) -> None:
    ledger = reopen()
    ledger.open(head)
    ledger.commit(entry(record(0), timing={"train": 1.0}))
    ledger.commit(entry(record(0), timing={"train": 2.0}))
    again = reopen()
    again.open(head)
    again.commit(entry(record(0)))
    (found,) = again.entries(MAIN)
    assert found.metadata == {"timing": {"train": 1.0}}


def test_another_record_of_a_committed_period_raises(
    reopen: Callable[[], Ledger], head: RunHead, record: Record
) -> None:
    ledger = reopen()
    ledger.open(head)
    ledger.commit(entry(record(0)))
    with pytest.raises(StoreError, match="period 0 of 'main' to be as it was committed"):
        ledger.commit(entry(record(0, weights="0" * 64)))
    assert [item.record for item in ledger.entries(MAIN)] == [record(0)]


def test_commits_out_of_order_or_with_a_wrong_hash_raise(
    reopen: Callable[[], Ledger], head: RunHead, record: Record
) -> None:
    ledger = reopen()
    ledger.open(head)
    with pytest.raises(StoreError, match="commit in order"):
        ledger.commit(entry(record(1)))
    with pytest.raises(StoreError, match="hash the record"):
        ledger.commit(Entry(record(0), "0" * 64))
    with pytest.raises(StoreError, match="to be of run 'r1', got 'r2'"):
        ledger.commit(entry(record(0, run="r2")))
    with pytest.raises(StoreError, match="'other' to be a line"):
        ledger.commit(entry(record(0, line=LineageKey(arm="other"))))
    assert ledger.entries(MAIN) == []


def test_values_that_are_not_json_raise(reopen: Callable[[], Ledger], head: RunHead, record: Record) -> None:
    ledger = reopen()
    ledger.open(head)
    with pytest.raises(StoreError, match="to be JSON values"):
        ledger.commit(entry(record(0), timing={"train": float("nan")}))
    assert ledger.entries(MAIN) == []


def test_another_scenario_or_source_is_refused(reopen: Callable[[], Ledger], head: RunHead) -> None:
    reopen().open(head)
    reopen().open(head)
    with pytest.raises(StoreError, match="the scenario it was begun with"):
        reopen().open(replace(head, scenario_digest="c" * 64))
    with pytest.raises(StoreError, match="the source it was begun with"):
        reopen().open(replace(head, source_digest="c" * 64))


def test_an_unknown_run_raises(reopen: Callable[[], Ledger]) -> None:
    with pytest.raises(StoreError, match="'r9' to be in"):
        reopen().head("r9")


def test_entries_before_open_raise(reopen: Callable[[], Ledger]) -> None:
    with pytest.raises(StoreError, match="open"):
        reopen().entries(MAIN)


@pytest.mark.parametrize("kind", ["torn", "changed", "missing", "swapped"])
@pytest.mark.parametrize("store", ["folder", "mlflow"])
def test_damaged_periods_raise(
    store: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path, head: RunHead, record: Record
) -> None:
    def opened() -> Ledger:
        made: Ledger = FolderLedger(tmp_path / "runs")
        if store == "mlflow":
            made = open_stores(tracking_uri=None, workspace=request.getfixturevalue("workspace"))[1]
        made.open(head)
        return made

    ledger = opened()
    for period in range(2):
        ledger.commit(entry(record(period)))
    first, second = (next(tmp_path.rglob(f"000{period}.json")) for period in range(2))
    text = first.read_text()
    if kind == "torn":
        first.write_text(text[: len(text) // 2])
    elif kind == "changed":
        first.write_text(text.replace("0.875", "0.876"))
    elif kind == "missing":
        first.unlink()
    else:
        first.write_text(second.read_text())
    with pytest.raises(StoreError, match=r"expected .*(whole period|hash|to be there|to hold periods 0 to)"):
        opened().entries(MAIN)


def test_a_head_comes_back_with_what_a_live_run_was_started_with(head: RunHead) -> None:
    live = replace(head, live={"every": 60})
    assert read_head(head_text(live), "here") == live


def test_a_changed_head_raises(tmp_path: Path, head: RunHead) -> None:
    FolderLedger(tmp_path).open(head)
    path = tmp_path / "r1" / "head.json"
    values = json.loads(path.read_text())
    values["head"]["scenario"]["seed"] = 4
    path.write_text(json.dumps(values))
    with pytest.raises(StoreError, match="hash it was written with"):
        FolderLedger(tmp_path).head("r1")
    path.write_text("{}")
    with pytest.raises(StoreError, match="hold a run's head"):
        FolderLedger(tmp_path).head("r1")


def test_a_partial_file_of_a_killed_writer_is_not_an_entry(tmp_path: Path, head: RunHead, record: Record) -> None:
    ledger = FolderLedger(tmp_path)
    ledger.open(head)
    ledger.commit(entry(record(0)))
    (tmp_path / "r1" / "main" / ".0001.json.77.partial").write_text('{"sha')
    ledger.commit(entry(record(1)))
    fresh = FolderLedger(tmp_path)
    fresh.open(head)
    assert [item.record.period for item in fresh.entries(MAIN)] == [0, 1]


def test_a_folder_reads_no_more_files_a_commit_the_longer_the_run(
    tmp_path: Path, head: RunHead, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    honest = Path.read_text

    def counted(path: Path, *arguments: Any, **options: Any) -> str:
        reads.append(path.name)
        return honest(path, *arguments, **options)

    ledger = FolderLedger(tmp_path)
    ledger.hold("r1")
    ledger.open(head)
    for key in (MAIN, TWIN):
        ledger.entries(key)
    found: dict[int, list[int]] = {3: [], 12: [], 48: []}
    for period in range(49):
        entries = [entry(record(period, line=key)) for key in (MAIN, TWIN)]
        for item in entries:
            monkeypatch.setattr(Path, "read_text", counted)
            ledger.commit(item)
            monkeypatch.undo()
            if period in found:
                found[period].append(len(reads))
            reads.clear()
    assert found == {3: [0, 0], 12: [0, 0], 48: [0, 0]}
    assert len(ledger.entries(MAIN)) == 49


def test_a_folder_that_is_locked_late_takes_in_what_others_committed_before(
    tmp_path: Path, head: RunHead, record: Record
) -> None:
    first, second = FolderLedger(tmp_path), FolderLedger(tmp_path)
    for ledger in (first, second):
        ledger.open(head)
    first.hold("r1")
    first.commit(entry(record(0)))
    first.release()
    second.commit(entry(record(1)))  # no lock is held: the files are what counts
    first.commit(entry(record(2)))
    second.hold("r1")
    with pytest.raises(StoreError, match="period 2 of 'main' to be as it was committed"):
        second.commit(entry(record(2, weights="0" * 64)))
    second.commit(entry(record(3)))
    second.forget_after(MAIN, 1)
    second.commit(entry(record(2, weights="0" * 64)))
    assert [item.record.period for item in second.entries(MAIN)] == [0, 1, 2]


def test_an_artifact_without_its_commit_is_not_an_entry(
    workspace: Path, client: Any, head: RunHead, record: Record
) -> None:
    ledger = open_stores(tracking_uri=None, workspace=workspace)[1]
    ledger.open(head)
    ledger.commit(entry(record(0)))
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    (run,) = client.search_runs([experiment], "tags.line = 'main'")
    client.log_text(run.info.run_id, "{half", "periods/0001.json")
    fresh = open_stores(tracking_uri=None, workspace=workspace)[1]
    fresh.open(head)
    assert [item.record.period for item in fresh.entries(MAIN)] == [0]
    fresh.commit(entry(record(1)))
    assert len(fresh.entries(MAIN)) == 2
    tags = client.get_run(run.info.run_id).data.tags
    assert tags["period.0001"] == record(1).digest()
