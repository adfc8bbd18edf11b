"""The ledger in MLflow: a period is an artifact of its line's run, committed by one tag that holds its hash."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

from simulator.errors import StoreError
from simulator.production.registry.base import Entry, Ledger, RunHead, RunState
from simulator.production.registry.entries import (
    action_text,
    check_action,
    check_order,
    head_text,
    read_action,
    read_entry,
    read_head,
    text_to_commit,
)
from simulator.production.registry.mlflow import lock as mlflow_lock
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.mlflow.runs import Places
from simulator.production.registry.naming import lock_model, period_key
from simulator.records import Action, LineageKey
from simulator.system.holder import Holder

__all__ = ["MlflowLedger"]


@final
class MlflowLedger(Ledger):
    """Artifacts `periods/0007.json`, tags `period.0007 = <sha256>`; the head is `head.json` of the parent run.

    What was done to an arm from outside: artifacts `actions/0007.00.json`, tags `action.0007.00 = <sha256>`.
    A file is whole and on the disk before its tag is set: where the tag is, the file is.
    `process` gives this process as a holder of runs.
    """

    def __init__(self, store: Store, places: Places, process: Callable[[], Holder] = Holder.current) -> None:
        self._store = store
        self._places = places
        # By hash, for a committed entry never changes; packed, for a run may have thousands and needs them at its end.
        self._read: dict[str, bytes] = {}
        self._process = process
        self._asked: tuple[str, Holder] | None = None  # the lock may be ours
        self._held: tuple[str, Holder] | None = None  # it is

    def open(self, head: RunHead) -> None:
        self._places.ensure(head)
        with self._store.explaining(f"begin run '{head.run}'"):
            client = self._store.client
            if "head" not in client.get_run(self._places.parent).data.tags:
                self._store.write_text(self._places.parent, head_text(head), "head.json")
                client.set_tag(self._places.parent, "head", "head.json")

    def head(self, run: str) -> RunHead:
        tags = self._places.find(run)
        if tags is None or "head" not in tags:
            raise StoreError(
                f"expected run '{run}' to be in the MLflow store at {self._store.shown}, got no such run; "
                "check its name and MLFLOW_TRACKING_URI"
            )
        return read_head(self._store.read_text(self._places.parent, "head.json"), f"head.json of run '{run}'")

    def commit(self, entry: Entry) -> None:
        record = entry.record
        run_id = self._places.of(record.lineage)
        text = text_to_commit(str(self._places.run), entry, self._committed(run_id))
        if text is None:
            return
        self._confirm()
        self._store.write_text(run_id, text, _file(record.period))
        with self._store.explaining(f"commit period {record.period} of '{record.lineage.name}'"):
            self._store.client.set_tag(run_id, period_key(record.period), entry.sha256)
        self._read[entry.sha256] = zlib.compress(text.encode())

    def entries(self, lineage: LineageKey) -> list[Entry]:
        run_id = self._places.of(lineage)
        committed = self._committed(run_id)
        missing = {period: sha256 for period, sha256 in committed.items() if sha256 not in self._read}
        if missing:
            self._fetch(run_id, lineage, missing)
        return check_order(lineage, [_unpacked(self._read[committed[period]]) for period in sorted(committed)])

    def forget_after(self, lineage: LineageKey, period: int) -> None:
        run_id = self._places.of(lineage)
        for later in sorted((p for p in self._committed(run_id) if p > period), reverse=True):
            with self._store.explaining(f"take back period {later} of '{lineage.name}'"):
                self._store.delete(self._store.client.delete_tag, run_id, period_key(later))

    def act(self, action: Action, beside: Mapping[str, Any]) -> None:
        run_id = self._places.of(LineageKey(arm=action.arm))
        last = len(self._committed(run_id)) - 1
        if not check_action(str(self._places.run), action, last, self.actions(action.arm)):
            return
        key = f"{action.period:04d}.{action.number:02d}"
        self._confirm()
        self._store.write_text(run_id, action_text(action, beside), f"actions/{key}.json")
        with self._store.explaining(f"note what was done to '{action.arm}'"):
            self._store.client.set_tag(run_id, f"action.{key}", action.digest())

    def actions(self, arm: str) -> list[Action]:
        run_id = self._places.of(LineageKey(arm=arm))
        with self._store.explaining("list what was done from outside"):
            tags = self._store.client.get_run(run_id).data.tags
        found = sorted((key[7:], value) for key, value in tags.items() if key.startswith("action."))
        return [
            read_action(self._store.read_text(run_id, f"actions/{key}.json"), f"action {key} on '{arm}'", sha256=sha256)
            for key, sha256 in found
        ]

    def runs(self) -> list[RunState]:
        parents, committed = self._places.every_run()
        return [
            RunState(
                run, status, {name: _count(tags) for name, tags in committed.get(run, {}).items()}, self.holder(run)
            )
            for run, status in parents.items()
        ]

    def holder(self, run: str) -> Holder | None:
        with self._store.explaining(f"tell who holds run '{run}'"):
            return mlflow_lock.read(self._store.client, lock_model(run))

    def hold(self, run: str, *, take_over: bool = False) -> None:
        if self._held is None or self._held[0] != run:
            if self._asked is None or self._asked[0] != run:
                self.release()
                self._asked = run, self._process()
            mlflow_lock.acquire(self._store, *self._asked, take_over)
            self._held = self._asked

    def release(self) -> None:
        if self._asked is not None:
            mlflow_lock.release(self._store, *self._asked)
            self._asked = self._held = None

    def _confirm(self) -> None:
        """Raise `RunHeldError` when the run was taken over: its new holder must not find a period of ours."""
        if self._held is not None:
            mlflow_lock.confirm(self._store, *self._held)

    def _committed(self, run_id: str) -> dict[int, str]:
        with self._store.explaining("list what is committed"):
            tags = self._store.client.get_run(run_id).data.tags
        return {int(key[7:]): value for key, value in tags.items() if key.startswith("period.")}

    def _fetch(self, run_id: str, lineage: LineageKey, missing: dict[int, str]) -> None:
        with TemporaryDirectory() as folder, self._store.explaining(f"give the periods of '{lineage.name}'"):
            below = self._store.read(run_id, "periods", folder)
            for period, sha256 in missing.items():
                where = f"{_file(period)} of '{lineage.name}'"
                path = below / Path(_file(period)).name
                if not path.exists():
                    raise StoreError(f"expected {where} to be there, got no file; restore it, or delete the run")
                text = path.read_text(encoding="utf-8", errors="replace")
                read_entry(text, where, sha256=sha256)
                self._read[sha256] = zlib.compress(text.encode())


def _count(tags: Mapping[str, str]) -> int:
    return sum(key.startswith("period.") for key in tags)


def _unpacked(packed: bytes) -> Entry:
    return read_entry(zlib.decompress(packed).decode(), "what was read of a period")


def _file(period: int) -> str:
    return f"periods/{period:04d}.json"
