"""Both stores in memory: for tests, and for studies that keep only the canonical records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from simulator.errors import StoreError
from simulator.production.registry.base import Entry, Ledger, Registry, RunHead, RunState, VersionPayload
from simulator.production.registry.entries import (
    action_text,
    check_action,
    check_commit,
    check_order,
    check_same_run,
    entry_text,
    read_action,
    read_entry,
)
from simulator.production.registry.standing import Standing
from simulator.records import Action, LineKey, PeriodRecord
from simulator.system.holder import Holder

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MemoryLedger", "MemoryRegistry"]


@final
class MemoryRegistry(Registry):
    """Versions of one run. `versions`, `standing`, `status` and `files` show what was stored."""

    def __init__(self) -> None:
        self.versions: dict[LineKey, dict[int, VersionPayload]] = {}
        self.standing: dict[LineKey, Standing] = {}
        self.status = "open"
        self.files: dict[str, str] = {}
        self._run: str | None = None

    def open(self, head: RunHead) -> None:
        self._run = head.run
        for line in head.lines:
            self.versions.setdefault(line, {})
            self.standing.setdefault(line, Standing())

    def register(self, payload: VersionPayload) -> dict[str, str]:
        self._of(payload.line)[payload.ordinal] = payload
        return {"memory": f"{self._run}/{payload.line.name}/{payload.ordinal}"}

    def publish(self, record: PeriodRecord, beside: Mapping[str, Any], now: Standing) -> None:
        if record.version not in self._of(record.line):
            raise StoreError(
                f"expected version {record.version} of '{record.line.name}' to be registered, got none; register it"
            )
        self.standing[record.line] = now

    def roll_back(self, line: LineKey, action: Action, now: Standing) -> None:
        self.weights(line, now.served[-1])
        self.standing[line] = now

    def weights(self, line: LineKey, ordinal: int) -> dict[str, Tensor]:
        payload = self._of(line).get(ordinal)
        if payload is None:
            raise StoreError(f"expected version {ordinal} of '{line.name}' to be stored, got none; register it first")
        return {name: tensor.clone() for name, tensor in payload.weights.items()}

    def aliases(self, line: LineKey) -> dict[str, int]:
        """Return alias -> ordinal."""
        return self.standing[line].aliases()

    def forget_after(self, line: LineKey, period: int, now: Standing) -> None:
        self.versions[line] = {o: payload for o, payload in self._of(line).items() if payload.period <= period}
        self.standing[line] = now

    def differences(self, line: LineKey, period: int, now: Standing) -> list[str]:
        later = [ordinal for ordinal, payload in self._of(line).items() if payload.period > period]
        aliases = [f"the aliases of '{line.name}'"] if self.aliases(line) != now.aliases() else []
        return [f"version {ordinal} of '{line.name}'" for ordinal in later] + aliases

    def leftovers(self) -> dict[str, list[str]]:
        return {}

    def refresh(self) -> None:
        return

    def finish(self, status: str, files: Mapping[str, str]) -> None:
        self.status = status
        self.files.update(files)

    def delete(self, run: str) -> None:
        if run == self._run:
            self.versions, self.standing, self.files = {}, {}, {}
            self.status, self._run = "open", None

    def links(self) -> dict[str, str]:
        return {}

    def _of(self, line: LineKey) -> dict[int, VersionPayload]:
        if line not in self.versions:
            raise StoreError(f"expected '{line.name}' to be a line of the run, got none of '{self._run}'; open the run")
        return self.versions[line]


@final
class MemoryLedger(Ledger):
    """Entries of one run, kept as the text a file would hold, so that they are checked alike."""

    def __init__(self) -> None:
        self._head: RunHead | None = None
        self._texts: dict[LineKey, list[str]] = {}
        self._hashes: dict[LineKey, list[str]] = {}
        self._actions: dict[str, list[str]] = {}
        self._holder: Holder | None = None

    def open(self, head: RunHead) -> None:
        if self._head is None:
            self._head = head
            self._texts = {line: [] for line in head.lines}
            self._hashes = {line: [] for line in head.lines}
        if self._head.run != head.run:
            raise StoreError(f"expected the run of this ledger, '{self._head.run}', got '{head.run}'; make another")
        check_same_run(head, self._head.scenario_digest, self._head.source_digest)

    def commit(self, entry: Entry) -> None:
        line = entry.record.line
        hashes = self._hashes[self._known(line)]  # beside the texts: to read all of them costs more with every period
        if check_commit(self._opened().run, entry, dict(enumerate(hashes))):
            self._texts[line].append(entry_text(entry))
            hashes.append(entry.sha256)

    def entries(self, line: LineKey) -> list[Entry]:
        found = [read_entry(text, f"'{line.name}' in memory") for text in self._texts[self._known(line)]]
        return check_order(line, found)

    def forget_after(self, line: LineKey, period: int) -> None:
        del self._texts[line][period + 1 :]
        del self._hashes[line][period + 1 :]

    def act(self, action: Action, beside: Mapping[str, Any]) -> None:
        last = len(self._texts[self._known(LineKey(arm=action.arm))]) - 1
        if check_action(self._opened().run, action, last, self.actions(action.arm)):
            self._actions.setdefault(action.arm, []).append(action_text(action, beside))

    def actions(self, arm: str) -> list[Action]:
        self._known(LineKey(arm=arm))
        return [read_action(text, f"an action on '{arm}' in memory") for text in self._actions.get(arm, [])]

    def runs(self) -> list[RunState]:
        if self._head is None:
            return []
        committed = {line.name: len(texts) for line, texts in self._texts.items()}
        return [RunState(self._head.run, "", committed, self._holder)]

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

    def _known(self, line: LineKey) -> LineKey:
        if line not in self._texts:
            raise StoreError(f"expected '{line.name}' to be a line of the run, got another; open the run first")
        return line

    def _opened(self) -> RunHead:
        if self._head is None:
            raise StoreError("expected an open run, got none; call `open` or `head` first")
        return self._head
