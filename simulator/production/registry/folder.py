"""A ledger in a folder: one JSON file per line and period, whole or not there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from simulator.errors import StoreError, StoreUnavailableError
from simulator.production.registry.base import Entry, Ledger, RunHead, StoredRun
from simulator.production.registry.entries import (
    action_text,
    check_action,
    check_commit,
    check_order,
    check_same_run,
    entry_text,
    head_text,
    read_action,
    read_entry,
    read_head,
)
from simulator.production.registry.naming import check_run
from simulator.records import Action, LineageKey
from simulator.system.files import exclusive
from simulator.system.holder import Holder

__all__ = ["FolderLedger"]

_PERIOD = re.compile(r"(\d{4,})\.json")


@final
class FolderLedger(Ledger):
    """`<folder>/<run>/head.json`, `<folder>/<run>/<line>/0007.json`, and `writer.json` while the run is held.

    What was done to an arm from outside lies beside its periods, as `after-0007.00.json`. A file is written under a
    temporary name, flushed to the disk and renamed: a killed process leaves none half done.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._head: RunHead | None = None
        self._holder: Holder | None = None
        self._held: str | None = None

    def open(self, head: RunHead) -> None:
        path = self._place(head.run) / "head.json"
        if path.exists():
            stored = self.head(head.run)
            check_same_run(head, stored.scenario_digest, stored.source_digest)
        else:
            _write(path, head_text(head))
        self._head = head

    def commit(self, entry: Entry) -> None:
        committed = {e.record.period: e.sha256 for e in self.entries(entry.record.lineage)}
        if check_commit(self._opened().run, entry, committed):
            _write(self._lineages(entry.record.lineage) / f"{entry.record.period:04d}.json", entry_text(entry))

    def entries(self, lineage: LineageKey) -> list[Entry]:
        folder = self._lineages(lineage)
        files = {int(m[1]): p for p in folder.glob("*.json") if (m := _PERIOD.fullmatch(p.name))}
        return check_order(lineage, [read_entry(_read(files[period]), str(files[period])) for period in sorted(files)])

    def forget_after(self, lineage: LineageKey, period: int) -> None:
        for path in sorted(self._lineages(lineage).glob("*.json"), reverse=True):
            if _PERIOD.fullmatch(path.name) and int(path.stem) > period:
                path.unlink()

    def act(self, action: Action, beside: Mapping[str, Any]) -> None:
        lineage = LineageKey(arm=action.arm)
        if check_action(self._opened().run, action, len(self.entries(lineage)) - 1, self.actions(action.arm)):
            name = f"after-{action.period:04d}.{action.number:02d}.json"
            _write(self._lineages(lineage) / name, action_text(action, beside))

    def actions(self, arm: str) -> list[Action]:
        files = sorted(self._lineages(LineageKey(arm=arm)).glob("after-*.json"))
        return [read_action(_read(path), str(path)) for path in files]

    def runs(self) -> list[StoredRun]:
        heads = sorted(self._folder.glob("*/head.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        return [self._state(read_head(_read(path), str(path))) for path in heads]

    def holder(self, run: str) -> Holder | None:
        path = self._place(run) / "writer.json"
        return _holder(path) if path.exists() else None

    def head(self, run: str) -> RunHead:
        path = self._place(run) / "head.json"
        if not path.exists():
            raise StoreError(f"expected run '{run}' to be in {self._folder}, got no such run; check name and folder")
        self._head = read_head(_read(path), str(path))
        return self._head

    def hold(self, run: str, *, take_over: bool = False) -> None:
        if self._held == run:
            return
        self.release()
        holder = Holder.current()
        with self._guarded(run) as path:
            if path.exists():
                _holder(path).refuse_unless_free(run, take_over)
            _write(path, json.dumps(holder.values()))
        self._held, self._holder = run, holder

    def release(self) -> None:
        if self._held is None:
            return
        with self._guarded(self._held) as path:
            if path.exists() and _holder(path) == self._holder:
                path.unlink()
        self._held = self._holder = None

    def _state(self, head: RunHead) -> StoredRun:
        place = self._place(head.run)
        periods = {
            lineage.name: sum(bool(_PERIOD.fullmatch(path.name)) for path in (place / lineage.name).glob("*.json"))
            for lineage in head.lineages
        }
        return StoredRun(head.run, "", periods, self.holder(head.run))

    def _place(self, run: str) -> Path:
        return self._folder / check_run(run)

    def _lineages(self, lineage: LineageKey) -> Path:
        head = self._opened()
        if lineage not in head.lineages:
            raise StoreError(
                f"expected '{lineage.name}' to be a line of run '{head.run}', got none; check the arm's name"
            )
        return self._place(head.run) / lineage.name

    def _opened(self) -> RunHead:
        if self._head is None:
            raise StoreError("expected an open run, got none; call `open` or `head` first")
        return self._head

    @contextmanager
    def _guarded(self, run: str) -> Iterator[Path]:
        with exclusive(self._place(run) / "writer.lock"):
            yield self._place(run) / "writer.json"


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


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StoreUnavailableError(
            f"expected {path} to be writable, got {error}; free space or change the folder"
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)  # the rename itself must reach the disk
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
