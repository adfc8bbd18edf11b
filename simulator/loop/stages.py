"""One lineage of a run as the loop drives it: its stages are timed, announced and wrapped here, its periods committed.

Only `register` and `commit` touch the stores, one lineage at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, final

from torch import Tensor

from simulator.errors import StoreError, StoreUnavailableError
from simulator.loop.changed_code import CODE_CHANGED
from simulator.loop.events import Event, Kind, Listen, Wrap, ignore, plain
from simulator.loop.executors import Executor
from simulator.loop.lineage import Lineage
from simulator.loop.resume import bring_back
from simulator.production.lineage import LineageState, ancestry
from simulator.production.registry.base import Entry, Ledger, Registry, VersionPayload
from simulator.records import Action, LineageEnd, LineageKey, PastRecord, PeriodEnd, PeriodRecord
from simulator.system.instructions import INSTRUCTION_SETS

P = ParamSpec("P")
R = TypeVar("R")


@final
class RunningLineage:
    """A lineage that `executor` holds, with the stores that its versions and records go to.

    `state` is where it stands by its committed periods. `wrap` wraps each stage, `listen` is told of each.
    `code_changed` is noted beside the record of its next period.
    """

    def __init__(
        self,
        run: str,
        key: LineageKey,
        executor: Executor,
        registry: Registry,
        ledger: Ledger,
        *,
        state: LineageState | None = None,
        wrap: Wrap = plain,
        listen: Listen = ignore,
        lock: threading.Lock | None = None,
        code_changed: Mapping[str, str | None] | None = None,
    ) -> None:
        self.key = key
        self.run = run
        self.state = state or LineageState()
        self._executor = executor
        self._registry = registry
        self._ledger = ledger
        self._wrap = wrap
        self._listen = listen
        self._lock = lock or threading.Lock()
        self._seconds: dict[str, float] = {}
        self._ids: dict[str, str] = {}
        self._code_changed = dict(code_changed or {})
        self.facts = self.ask(Lineage.facts)

    def stage(
        self, stage: Callable[Concatenate[Lineage, int, P], R], period: int, *given: P.args, **named: P.kwargs
    ) -> R:
        """Run a stage of a period: timed, announced, and wrapped as the run's executor wants it."""
        return self._timed(stage.__name__, period, lambda: self.ask(stage, period, *given, **named))

    def ask(self, method: Callable[Concatenate[Lineage, P], R], *given: P.args, **named: P.kwargs) -> R:
        """Run a method of the lineage, neither timed nor announced."""
        return self._executor.run(self.key, method, *given, **named)

    def ahead(self) -> None:
        """Train and read now what period 0 will find in the cache; the seconds are the period's, stage by stage."""
        self._seconds = self.ask(Lineage.ahead)

    def register(self, period: int, ordinal: int, training: Mapping[str, Any]) -> None:
        """Store the candidate in the registry, as a child of the version that serves."""

        def register() -> dict[str, str]:
            weights = self.ask(Lineage.candidate)
            parent, architecture = self.state.champion, self.facts.architecture
            payload = VersionPayload(self.key, ordinal, parent, period, weights, architecture, training)
            with self._lock:
                return dict(self._registry.register(payload))

        self._ids = self._timed("register", period, register)

    def commit(self, record: PeriodRecord, end: PeriodEnd) -> Entry:
        """Publish the period in the registry, then write it into the ledger. Only then is it done."""
        after = self.state.after(record)
        seconds, memory = dict(self._seconds), end.device_memory
        beside = {"timing": seconds, "defense_seconds": end.defense_seconds, "ids": self._ids}
        if end.defense_notes:
            beside["defense_notes"] = end.defense_notes
        beside |= {INSTRUCTION_SETS: end.instruction_sets} if end.instruction_sets else {}
        beside |= {} if memory is None else {"device_memory_bytes": memory}
        beside |= {CODE_CHANGED: self._code_changed} if self._code_changed else {}

        shown: dict[int, int] = {}

        def commit() -> Entry:
            began = time.perf_counter()
            with self._lock:
                self._registry.publish(record, beside, after)
                shown.update(self._registry.numbers(self.key))
                timing = {**seconds, "commit": time.perf_counter() - began}
                entry = Entry(record, record.digest(), {**beside, "timing": timing})
                self._ledger.commit(entry)
            return entry

        entry = self._timed("commit", record.period, commit)
        if self.facts.looks_back:
            self._hand(self.ask(Lineage.remember, PastRecord.of(record, next(iter(self.state.records[-1:]), None))))
        spent = sum(self._seconds.values())
        self.state, self._seconds, self._ids, self._code_changed = after, {}, {}, {}
        number = {"number": shown.get(record.version, record.version + 1)}
        self._tell("period-committed", record.period, "commit", spent, record, number)
        return entry

    def end(self, period: int, why: str, twins: Sequence[RunningLineage] = ()) -> None:
        """Note in the ledger that training diverged in `period`, and remove what the registry has of that period.

        The `twins` of an arm end with it: what they did in that period is removed too.
        """
        end = LineageEnd(run=self.run, arm=self.key.arm, control=self.key.control, period=period, why=why)
        with self._lock:
            self._ledger.end(end)
        for lineage in (self, *twins):
            lineage.bring_back()
        self._tell("lineage-ended", period, "train", 0.0, detail={"why": why})

    def bring_back(self) -> None:
        """Remove from the stores what is not committed of this lineage."""
        with self._lock:
            bring_back(self._registry, self._ledger, self.key, self.state)

    def start(self) -> None:
        """Continue after the committed periods, if any, and after the operator's actions since.

        What a killed process left uncommitted is removed, and what it left undone of a roll-back is done.
        """
        self.bring_back()
        if not self.state.records:
            return
        committed = self.state.records[-1].state
        platform = committed["platform"]
        records = self.state.records if self.facts.looks_back else ()
        past = [PastRecord.of(record, before) for record, before in zip(records, (None, *records), strict=False)]
        self._hand(self.ask(Lineage.restore, committed, self._stored(platform["kept"]), past))
        for action in self.state.since:
            self._act(action)

    def follow(self, action: Action) -> None:
        """Carry out an operator's action that came between two periods; the stores have it already."""
        self.state = self.state.acted(action)
        self._act(action)

    def _act(self, action: Action) -> None:
        platform = self.state.records[-1].state["platform"]
        needed = [] if action.to is None else ancestry(dict(platform["parents"]), action.to)
        away = self._stored(ordinal for ordinal in needed if ordinal not in platform["kept"])
        self._hand(self.ask(Lineage.act, action, away))

    def _hand(self, missing: Sequence[int]) -> None:
        """Fetch what defenses look back to and the lineage does not hold: after a roll-back there may be some.

        What somebody has removed from the registry is not at hand; what serves does not depend on it.
        """
        found: dict[int, dict[str, Tensor]] = {}
        for ordinal in missing:
            try:
                found |= self._stored([ordinal])
            except StoreUnavailableError:
                raise
            except StoreError:
                continue
        if found:
            self.ask(Lineage.hand, found)

    def _stored(self, ordinals: Iterable[int]) -> dict[int, dict[str, Tensor]]:
        with self._lock:
            return {ordinal: self._registry.weights(self.key, ordinal) for ordinal in ordinals}

    def _timed(self, name: str, period: int, call: Callable[[], R]) -> R:
        def stage(arm: str, control: str, period: int) -> R:
            return call()

        began = time.perf_counter()
        answer = self._wrap(name, stage)(self.key.arm, self.key.control, period)
        seconds = time.perf_counter() - began
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds
        self._tell("stage-finished", period, name, seconds)
        return answer

    def _tell(
        self,
        kind: Kind,
        period: int,
        stage: str,
        seconds: float,
        record: PeriodRecord | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        about = (self.key.arm, self.key.control, period, stage, seconds, record, detail or {})
        self._listen(Event(kind, self.run, *about))


#: what is done between two periods of an arm and its twins
Before = Callable[[RunningLineage, Sequence[RunningLineage]], None]


def nothing(arm: RunningLineage, twins: Sequence[RunningLineage]) -> None:
    """Do nothing between two periods."""
