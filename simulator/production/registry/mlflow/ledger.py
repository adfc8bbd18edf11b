"""The ledger in MLflow: a period is an artifact of its lineage's run, committed by one tag that holds its hash."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

from simulator.errors import StoreError, StoreUnavailableError
from simulator.production.registry.base import Entry, Ledger, RunHead, StoredRun
from simulator.production.registry.entries import (
    action_text,
    check_action,
    check_end,
    check_order,
    head_text,
    read_action,
    read_end,
    read_entry,
    read_head,
    text_to_commit,
)
from simulator.production.registry.mlflow import lock as mlflow_lock
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.mlflow.runs import Runs
from simulator.production.registry.naming import lock_model
from simulator.records import Action, LineageEnd, LineageKey
from simulator.system.holder import Holder


@final
class MlflowLedger(Ledger):
    """Artifacts `periods/0007.json`, tags `period.0007 = <sha256>`; the head is `head.json` of the parent run.

    Operator actions: artifacts `actions/0007.00.json`, tags `action.0007.00 = <sha256>`. How a lineage ended: `ended`.
    A file is whole and on the disk before its tag is set: where the tag is, the file is.
    `process` gives this process as a holder of runs.
    """

    def __init__(self, store: Store, runs: Runs, process: Callable[[], Holder] = Holder.current) -> None:
        self._store = store
        self._runs = runs
        # By hash, for a committed entry never changes; packed, for a run may have thousands and needs them at its end.
        self._read: dict[str, bytes] = {}
        self._process = process
        self._asked: tuple[str, Holder] | None = None  # the lock may be ours
        self._held: tuple[str, Holder] | None = None  # it is

    def open(self, head: RunHead) -> None:
        self._runs.ensure(head)
        with self._store.explaining(f"begin run '{head.run}'"):
            client = self._store.client
            if tags.HEAD not in client.get_run(self._runs.parent).data.tags:
                self._store.write_text(self._runs.parent, head_text(head), tags.HEAD_FILE)
                client.set_tag(self._runs.parent, tags.HEAD, tags.HEAD_FILE)

    def head(self, run: str) -> RunHead:
        found = self._runs.find(run)
        if found is None or tags.HEAD not in found:
            raise StoreError(
                f"expected run '{run}' to be in the MLflow store at {self._store.shown}, got no such run; "
                "check its name and MLFLOW_TRACKING_URI"
            )
        text = self._store.read_text(self._runs.parent, tags.HEAD_FILE)
        return read_head(text, f"{tags.HEAD_FILE} of run '{run}'")

    def commit(self, entry: Entry) -> None:
        record = entry.record
        run_id = self._runs.of(record.lineage)
        text = text_to_commit(str(self._runs.run), entry, self._committed(run_id))
        if text is None:
            return
        self._confirm()
        self._store.write_text(run_id, text, _file(record.period))
        with self._store.explaining(f"commit period {record.period} of '{record.lineage.name}'"):
            self._store.client.set_tag(run_id, tags.period_key(record.period), entry.sha256)
        self._read[entry.sha256] = zlib.compress(text.encode())

    def entries(self, lineage: LineageKey) -> list[Entry]:
        run_id = self._runs.of(lineage)
        committed = self._committed(run_id)
        missing = {period: sha256 for period, sha256 in committed.items() if sha256 not in self._read}
        if missing:
            self._fetch(run_id, lineage, missing)
        return check_order(lineage, [_unpacked(self._read[committed[period]]) for period in sorted(committed)])

    def forget_after(self, lineage: LineageKey, period: int) -> None:
        run_id = self._runs.of(lineage)
        for later in sorted((p for p in self._committed(run_id) if p > period), reverse=True):
            with self._store.explaining(f"take back period {later} of '{lineage.name}'"):
                self._store.delete(self._store.client.delete_tag, run_id, tags.period_key(later))

    def act(self, action: Action, metadata: Mapping[str, Any]) -> None:
        run_id = self._runs.of(LineageKey(arm=action.arm))
        last = len(self._committed(run_id)) - 1
        if not check_action(str(self._runs.run), action, last, self.actions(action.arm)):
            return
        key = f"{action.period:04d}.{action.number:02d}"
        self._confirm()
        self._store.write_text(run_id, action_text(action, metadata), _action_file(key))
        with self._store.explaining(f"note what was done to '{action.arm}'"):
            self._store.client.set_tag(run_id, f"{tags.ACTIONS}{key}", action.digest())

    def actions(self, arm: str) -> list[Action]:
        run_id = self._runs.of(LineageKey(arm=arm))
        with self._store.explaining("list what was done from outside"):
            found = _after(tags.ACTIONS, self._store.client.get_run(run_id).data.tags)
        read = [
            read_action(self._store.read_text(run_id, _action_file(key)), f"action {key} on '{arm}'", sha256=sha256)
            for key, sha256 in found.items()
        ]
        return sorted(read, key=lambda action: (action.period, action.number))  # keys order two digits only

    def end(self, end: LineageEnd) -> None:
        run_id, committed = self._runs.of(end.lineage), len(self.entries(end.lineage))
        if check_end(str(self._runs.run), end, committed, self._runs.ended.get(end.lineage.name)):
            self._confirm()
            with self._store.explaining(f"note how '{end.lineage.name}' ended"):
                self._store.client.set_tag(run_id, tags.ENDED, end.model_dump_json())
            self._runs.ended[end.lineage.name] = end

    def ends(self) -> tuple[LineageEnd, ...]:
        return tuple(self._runs.ended[name] for name in self._runs.lineages() if name in self._runs.ended)

    def runs(self) -> list[StoredRun]:
        parents, lineages = self._runs.every_run()
        committed = {
            run: {name: len(_after(tags.PERIODS, known)) for name, known in lineages.get(run, {}).items()}
            for run in parents
        }
        return [self._stored(run, status, committed[run], lineages.get(run, {})) for run, status in parents.items()]

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

    def _stored(
        self, run: str, status: str, committed: Mapping[str, int], found: Mapping[str, Mapping[str, str]]
    ) -> StoredRun:
        """Return what is known of a run, `found` being the tags of its lineages' runs. A fault hides no other run."""
        try:
            ended = tuple(
                read_end(known[tags.ENDED], f"tag {tags.ENDED} of '{name}'")
                for name, known in found.items()
                if tags.ENDED in known
            )
            return StoredRun(run, status, committed, self.holder(run), ended)
        except StoreUnavailableError:
            raise
        except StoreError as error:
            return StoredRun(run, status, committed, fault=str(error))

    def _confirm(self) -> None:
        """Raise `RunHeldError` when the run was taken over: its new holder must not find a period of ours."""
        if self._held is not None:
            mlflow_lock.confirm(self._store, *self._held)

    def _committed(self, run_id: str) -> dict[int, str]:
        with self._store.explaining("list what is committed"):
            known = self._store.client.get_run(run_id).data.tags
            found = _after(tags.PERIODS, known)
        if strange := [key for key in found if not (key.isascii() and key.isdigit())]:
            raise StoreError(
                f"expected the tags `{tags.PERIODS}...` of the MLflow run {run_id} to end with numbers, got "
                f"'{tags.PERIODS}{strange[0]}'; remove that tag in MLflow"
            )
        committed = {int(period): sha256 for period, sha256 in found.items()}
        noted = known.get(tags.COMMITTED, "")
        self._expect_whole(run_id, committed, int(noted) if noted.isascii() and noted.isdigit() else 0)
        return committed

    def _expect_whole(self, run_id: str, committed: Mapping[int, str], noted: int) -> None:
        """Refuse a ledger in which a period's tag is missing though a later period is there, or it was `noted`."""
        for period in range(max(noted, 1 + max(committed, default=-1))):
            if period in committed:
                continue
            where = f"{_file(period)} of the MLflow run {run_id}"
            sha256 = read_entry(self._store.read_text(run_id, _file(period)), where).sha256
            raise StoreError(
                f"expected period {period} to have its tag in the MLflow run {run_id}, got none, though it is "
                f"committed; in MLflow open that run and set its tag `{tags.period_key(period)}` to `{sha256}`"
            )

    def _fetch(self, run_id: str, lineage: LineageKey, missing: dict[int, str]) -> None:
        with TemporaryDirectory() as folder, self._store.explaining(f"give the periods of '{lineage.name}'"):
            below = self._store.read(run_id, tags.PERIODS_FOLDER, folder)
            for period, sha256 in missing.items():
                where = f"{_file(period)} of '{lineage.name}'"
                path = below / Path(_file(period)).name
                if not path.exists():
                    raise StoreError(f"expected {where} to be there, got no file; restore it, or delete the run")
                text = path.read_text(encoding="utf-8", errors="replace")
                read_entry(text, where, sha256=sha256)
                self._read[sha256] = zlib.compress(text.encode())


def _after(prefix: str, found: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}


def _unpacked(packed: bytes) -> Entry:
    return read_entry(zlib.decompress(packed).decode(), "what was read of a period")


def _file(period: int) -> str:
    return f"{tags.PERIODS_FOLDER}/{period:04d}.json"


def _action_file(key: str) -> str:
    return f"{tags.ACTIONS_FOLDER}/{key}.json"
