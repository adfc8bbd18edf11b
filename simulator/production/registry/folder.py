"""A ledger in a folder: one JSON file per lineage and period, whole or not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from simulator.errors import StoreError
from simulator.production.registry.base import Entry, Ledger, RunHead, StoredRun
from simulator.production.registry.entries import (
    action_text,
    check_action,
    check_end,
    check_order,
    check_same_run,
    head_text,
    read_action,
    read_end,
    read_entry,
    read_head,
    text_to_commit,
)
from simulator.production.registry.naming import check_run
from simulator.records import Action, LineageEnd, LineageKey
from simulator.system.files import write_whole
from simulator.system.holder import Holder
from simulator.system.locks import exclusive

_ENDED = "ended.json"
_PERIOD = re.compile(r"(\d{4,})\.json")


@final
class FolderLedger(Ledger):
    """`<folder>/<run>/head.json`, `<folder>/<run>/<lineage>/0007.json`, and `writer.json` while the run is locked.

    Operator actions lie beside their arm's periods, as `after-0007.00.json`, and how a lineage ended is `ended.json`. A
    file is written under a temporary name, flushed to the disk and renamed: a killed process leaves none half done.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._head: RunHead | None = None
        self._holder: Holder | None = None
        self._locked: str | None = None
        # Hashes by period, kept while the run is ours: no other process commits then, so nothing is read again.
        self._index: dict[LineageKey, dict[int, str]] = {}

    def open(self, head: RunHead) -> None:
        path = self._run_folder(head.run) / "head.json"
        if path.exists():
            stored = self.head(head.run)
            check_same_run(head, stored.scenario_digest, stored.source_digest)
        else:
            write_whole(path, head_text(head))
        self._head, self._index = head, {}

    def commit(self, entry: Entry) -> None:
        lineage, period = entry.record.lineage, entry.record.period
        committed = self._committed(lineage)
        text = text_to_commit(self._opened().run, entry, committed)
        if text is not None:
            write_whole(self._lineage_folder(lineage) / f"{period:04d}.json", text)
            committed[period] = entry.sha256

    def entries(self, lineage: LineageKey) -> list[Entry]:
        files = self._period_files(lineage)
        found = check_order(lineage, [read_entry(_read(files[period]), str(files[period])) for period in sorted(files)])
        self._index[lineage] = {entry.record.period: entry.sha256 for entry in found}
        return found

    def forget_after(self, lineage: LineageKey, period: int) -> None:
        self._index.pop(lineage, None)
        files = self._period_files(lineage)
        for later in sorted((p for p in files if p > period), reverse=True):
            files[later].unlink()

    def act(self, action: Action, metadata: Mapping[str, Any]) -> None:
        lineage = LineageKey(arm=action.arm)
        last = len(self._committed(lineage)) - 1
        if check_action(self._opened().run, action, last, self.actions(action.arm)):
            name = f"after-{action.period:04d}.{action.number:02d}.json"
            write_whole(self._lineage_folder(lineage) / name, action_text(action, metadata))

    def actions(self, arm: str) -> list[Action]:
        files = self._lineage_folder(LineageKey(arm=arm)).glob("after-*.json")
        found = [read_action(_read(path), str(path)) for path in files]
        return sorted(found, key=lambda action: (action.period, action.number))  # names order two digits only

    def end(self, end: LineageEnd) -> None:
        path, known = self._lineage_folder(end.lineage) / _ENDED, self._ended(self._opened())
        found = next((other for other in known if other.lineage == end.lineage), None)
        if check_end(self._opened().run, end, len(self._committed(end.lineage)), found):
            write_whole(path, end.model_dump_json())

    def ends(self) -> tuple[LineageEnd, ...]:
        return self._ended(self._opened())

    def runs(self) -> list[StoredRun]:
        heads = sorted(self._folder.glob("*/head.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        return [self._state(path) for path in heads]

    def holder(self, run: str) -> Holder | None:
        path = self._run_folder(run) / "writer.json"
        return _holder(path) if path.exists() else None

    def head(self, run: str) -> RunHead:
        path = self._run_folder(run) / "head.json"
        if not path.exists():
            raise StoreError(f"expected run '{run}' to be in {self._folder}, got no such run; check name and folder")
        self._head, self._index = read_head(_read(path), str(path)), {}
        return self._head

    def hold(self, run: str, *, take_over: bool = False) -> None:
        if self._locked == run:
            return
        self.release()
        holder = Holder.current()
        with self._guarded(run) as path:
            if path.exists():
                _holder(path).refuse_unless_free(run, take_over)
            write_whole(path, json.dumps(holder.values()))
        self._locked, self._holder, self._index = run, holder, {}

    def release(self) -> None:
        if self._locked is None:
            return
        with self._guarded(self._locked) as path:
            if path.exists() and _holder(path) == self._holder:
                path.unlink()
        self._locked = self._holder = None

    def _committed(self, lineage: LineageKey) -> dict[int, str]:
        """Return the hashes by period: as indexed while the run is ours, else as the files have them now."""
        if lineage not in self._index or self._locked != self._opened().run:
            self.entries(lineage)
        return self._index[lineage]

    def _state(self, path: Path) -> StoredRun:
        folder, periods = path.parent, {}
        try:
            head = read_head(_read(path), str(path))
            periods = {lineage.name: len(_periods(folder / lineage.name)) for lineage in head.lineages}
            return StoredRun(head.run, "", periods, self.holder(head.run), self._ended(head))
        except StoreError as error:  # what cannot be read of one run must not hide the others
            return StoredRun(folder.name, "", periods, fault=str(error))

    def _ended(self, head: RunHead) -> tuple[LineageEnd, ...]:
        paths = [self._run_folder(head.run) / lineage.name / _ENDED for lineage in head.lineages]
        return tuple(read_end(_read(path), str(path)) for path in paths if path.exists())

    def _run_folder(self, run: str) -> Path:
        return self._folder / check_run(run)

    def _lineage_folder(self, lineage: LineageKey) -> Path:
        head = self._opened()
        if lineage not in head.lineages:
            raise StoreError(
                f"expected '{lineage.name}' to be a line of run '{head.run}', got none; check the arm's name"
            )
        return self._run_folder(head.run) / lineage.name

    def _period_files(self, lineage: LineageKey) -> dict[int, Path]:
        return _periods(self._lineage_folder(lineage))

    def _opened(self) -> RunHead:
        if self._head is None:
            raise StoreError("expected an open run, got none; call `open` or `head` first")
        return self._head

    @contextmanager
    def _guarded(self, run: str) -> Iterator[Path]:
        with exclusive(self._run_folder(run) / "writer.lock"):
            yield self._run_folder(run) / "writer.json"


def _periods(folder: Path) -> dict[int, Path]:
    return {int(m[1]): path for path in folder.glob("*.json") if (m := _PERIOD.fullmatch(path.name))}


def _holder(path: Path) -> Holder:
    try:
        values = json.loads(_read(path))
    except ValueError:
        values = {}
    return Holder.of(values, str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"expected {path} to be readable, got {error}; restore it, or delete the run") from error
