"""Both stores in memory: a registry for studies, which keep only the canonical records, and a ledger for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

from simulator.errors import StoreError
from simulator.production.lineage import LineageState
from simulator.production.registry.base import Entry, Ledger, Leftover, Registry, RunHead, StoredRun, VersionPayload
from simulator.production.registry.entries import (
    action_text,
    check_action,
    check_end,
    check_order,
    check_same_run,
    read_action,
    read_entry,
    text_to_commit,
)
from simulator.records import Action, LineageEnd, LineageKey, PeriodRecord
from simulator.system.holder import Holder

if TYPE_CHECKING:
    from torch import Tensor


@final
class MemoryRegistry(Registry):
    """Versions of one run. `versions`, `standing`, `status` and `files` show what was stored."""

    def __init__(self) -> None:
        self.versions: dict[LineageKey, dict[int, VersionPayload]] = {}
        self.standing: dict[LineageKey, LineageState] = {}
        self.status = "open"
        self.files: dict[str, str] = {}
        self._run: str | None = None

    def open(self, head: RunHead) -> None:
        self._run = head.run
        for lineage in head.lineages:
            self.versions.setdefault(lineage, {})
            self.standing.setdefault(lineage, LineageState())

    def register(self, payload: VersionPayload) -> dict[str, str]:
        weights = {name: tensor.clone() for name, tensor in payload.weights.items()}  # the caller's go on being used
        self._of(payload.lineage)[payload.ordinal] = replace(payload, weights=weights)
        return {"memory": f"{self._run}/{payload.lineage.name}/{payload.ordinal}"}

    def publish(self, record: PeriodRecord, metadata: Mapping[str, Any], now: LineageState) -> None:
        if record.version not in self._of(record.lineage):
            raise StoreError(
                f"expected version {record.version + 1} of '{record.lineage.name}' to be registered, got none; "
                "register it"
            )
        self.standing[record.lineage] = now

    def roll_back(self, lineage: LineageKey, action: Action, now: LineageState) -> None:
        self.weights(lineage, now.served[-1])
        self.standing[lineage] = now

    def weights(self, lineage: LineageKey, ordinal: int) -> dict[str, Tensor]:
        payload = self._of(lineage).get(ordinal)
        if payload is None:
            raise StoreError(
                f"expected version {ordinal + 1} of '{lineage.name}' to be stored, got none; register it first"
            )
        return {name: tensor.clone() for name, tensor in payload.weights.items()}

    def aliases(self, lineage: LineageKey) -> dict[str, int]:
        """Return alias -> ordinal."""
        return self.standing[lineage].aliases()

    def forget_after(self, lineage: LineageKey, period: int, now: LineageState) -> None:
        self.versions[lineage] = {o: payload for o, payload in self._of(lineage).items() if payload.period <= period}
        self.standing[lineage] = now

    def differences(self, lineage: LineageKey, period: int, now: LineageState) -> list[str]:
        later = [ordinal for ordinal, payload in self._of(lineage).items() if payload.period > period]
        aliases = [f"the aliases of '{lineage.name}'"] if self.aliases(lineage) != now.aliases() else []
        return [f"version {ordinal + 1} of '{lineage.name}'" for ordinal in later] + aliases

    def moved(self, lineage: LineageKey, now: LineageState) -> int | None:
        return None

    def moved_meanwhile(self, lineage: LineageKey, now: LineageState) -> int | None:
        return None

    def put_back(self, lineage: LineageKey, now: LineageState) -> list[str]:
        return []

    def missing(self, lineage: LineageKey, now: LineageState) -> list[str]:
        return []

    def numbers(self, lineage: LineageKey) -> dict[int, int]:
        return {ordinal: ordinal + 1 for ordinal in self._of(lineage)}

    def restore(self, lineage: LineageKey, now: LineageState) -> list[str]:
        self.standing[lineage] = now
        return []

    def leftovers(self) -> dict[str, Leftover]:
        return {}

    def refresh(self) -> None:
        return

    def finish(self, status: str, files: Mapping[str, str]) -> None:
        self.status = status
        self.files.update(files)

    def delete(self, run: str) -> bool:
        found = run == self._run
        if found:
            self.versions, self.standing, self.files = {}, {}, {}
            self.status, self._run = "open", None
        return found

    def sweep(self, run: str) -> None:
        self.delete(run)

    def links(self) -> dict[str, str]:
        return {}

    def _of(self, lineage: LineageKey) -> dict[int, VersionPayload]:
        if lineage not in self.versions:
            raise StoreError(
                f"expected '{lineage.name}' to be a line of the run, got none of '{self._run}'; open the run"
            )
        return self.versions[lineage]


@final
class MemoryLedger(Ledger):
    """Entries of one run, kept as the text a file would hold.

    A record is frozen but for the dictionaries in it, and those may hold tuples, which JSON gives back as lists. Read
    from text, an entry is the same as after a resume, whatever its committer does with the record meanwhile.
    """

    def __init__(self) -> None:
        self._head: RunHead | None = None
        self._texts: dict[LineageKey, dict[str, str]] = {}  # by hash, in the order of periods
        self._actions: dict[str, list[str]] = {}
        self._ends: dict[LineageKey, LineageEnd] = {}
        self._holder: Holder | None = None

    def open(self, head: RunHead) -> None:
        if self._head is None:
            self._head = head
            self._texts = {lineage: {} for lineage in head.lineages}
        if self._head.run != head.run:
            raise StoreError(f"expected the run of this ledger, '{self._head.run}', got '{head.run}'; make another")
        check_same_run(head, self._head.scenario_digest, self._head.source_digest)

    def commit(self, entry: Entry) -> None:
        texts = self._texts[self._known(entry.record.lineage)]
        text = text_to_commit(self._opened().run, entry, dict(enumerate(texts)))
        if text is not None:
            texts[entry.sha256] = text

    def entries(self, lineage: LineageKey) -> list[Entry]:
        found = [read_entry(text, f"'{lineage.name}' in memory") for text in self._texts[self._known(lineage)].values()]
        return check_order(lineage, found)

    def forget_after(self, lineage: LineageKey, period: int) -> None:
        self._texts[lineage] = dict(list(self._texts[lineage].items())[: period + 1])

    def act(self, action: Action, metadata: Mapping[str, Any]) -> None:
        last = len(self._texts[self._known(LineageKey(arm=action.arm))]) - 1
        if check_action(self._opened().run, action, last, self.actions(action.arm)):
            self._actions.setdefault(action.arm, []).append(action_text(action, metadata))

    def actions(self, arm: str) -> list[Action]:
        self._known(LineageKey(arm=arm))
        return [read_action(text, f"an action on '{arm}' in memory") for text in self._actions.get(arm, [])]

    def end(self, end: LineageEnd) -> None:
        committed = len(self._texts[self._known(end.lineage)])
        if check_end(self._opened().run, end, committed, self._ends.get(end.lineage)):
            self._ends[end.lineage] = end

    def ends(self) -> tuple[LineageEnd, ...]:
        return tuple(self._ends[key] for key in self._opened().lineages if key in self._ends)

    def runs(self) -> list[StoredRun]:
        if self._head is None:
            return []
        committed = {lineage.name: len(texts) for lineage, texts in self._texts.items()}
        return [StoredRun(self._head.run, "", committed, self._holder, self.ends())]

    def holder(self, run: str) -> Holder | None:
        return self._holder

    def head(self, run: str) -> RunHead:
        if self._head is None or self._head.run != run:
            raise StoreError(f"expected run '{run}' to be in this ledger, got none; memory ends with its process")
        return self._head

    def hold(self, run: str, *, take_over: bool = False) -> None:
        self._holder = Holder.current()

    def release(self) -> None:
        self._holder = None

    def _known(self, lineage: LineageKey) -> LineageKey:
        if lineage not in self._texts:
            raise StoreError(f"expected '{lineage.name}' to be a line of the run, got another; open the run first")
        return lineage

    def _opened(self) -> RunHead:
        if self._head is None:
            raise StoreError("expected an open run, got none; call `open` or `head` first")
        return self._head
