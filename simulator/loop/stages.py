"""The stages of a line as the loop calls them: typed, timed, and wrapped by whoever executes them.

An executor hands in `wrap(name, function)`: the plain one returns the function, a flow returns it as a task. Arguments
and results are small JSON values.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final

from torch import Tensor

from simulator.loop.hosts import Host
from simulator.loop.resume import LinePast, bring_back
from simulator.observer.probes.base import When
from simulator.production.lineage import ancestry
from simulator.production.registry.base import Entry, Ledger, Registry, VersionPayload
from simulator.production.registry.standing import Standing
from simulator.records import Action, Arrival, Decision, Judgement, LineageKey, Outcome, PeriodRecord, Reading, Signal

__all__ = ["STAGES", "Event", "Listen", "Stages", "Wrap", "ignore", "plain"]

STAGES = (
    "ingest", "monitor", "decide", "filter", "train", "repair", "inspect", "gate", "register", "probe", "commit",
)  # fmt: skip

#: called as function(arm, control, period, **arguments)
Stage = Callable[..., dict[str, Any]]
Wrap = Callable[[str, Stage], Stage]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a display or a log may want to tell. Events never carry truth back into the loop."""

    kind: Literal["run-started", "stage-finished", "period-committed", "run-finished"]
    run: str
    arm: str = ""
    control: str = "none"
    period: int = 0
    stage: str = ""
    seconds: float = 0.0
    record: PeriodRecord | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


Listen = Callable[[Event], None]


def plain(name: str, function: Stage) -> Stage:
    """The executor that adds nothing."""
    return function


def ignore(event: Event) -> None:
    """The listener that says nothing."""


@final
class Stages:
    """One line's stages. Only `register` and `commit` touch the stores, one line at a time."""

    def __init__(
        self,
        run: str,
        key: LineageKey,
        host: Host,
        registry: Registry,
        ledger: Ledger,
        *,
        surfaces: frozenset[str],
        wrap: Wrap = plain,
        listen: Listen = ignore,
        lock: threading.Lock | None = None,
    ) -> None:
        self.key = key
        self._run = run
        self._host = host
        self.surfaces = surfaces
        self._registry = registry
        self._ledger = ledger
        self._listen = listen
        self._lock = lock or threading.Lock()
        self._wrap = wrap
        self._wrapped = {name: wrap(name, self._stage(name)) for name in STAGES}
        self._compares: frozenset[When] | None = None
        self._seconds: dict[str, float] = {}
        self._ahead: dict[str, float] = {}
        self._defense_seconds: dict[str, float] = {}
        self._device_memory: dict[str, int] = {}
        self._ids: dict[str, str] = {}
        self._now = Standing()
        self._since: tuple[Action, ...] = ()

    @property
    def now(self) -> Standing:
        """Where the line stands: by its committed periods and what was done from outside."""
        return self._now

    @property
    def since(self) -> tuple[Action, ...]:
        """What was done from outside after the last committed period."""
        return self._since

    def ahead(self) -> None:
        """Train and read now what period 0 of this line will recall; its seconds are the period's, stage by stage."""
        self._ahead, _ = self._host.call(self.key, "ahead", {})

    # -- the stages, in order ----------------------------------------------------------------------------------------

    def ingest(self, period: int) -> Arrival:
        """World: a batch arrives."""
        self._seconds, self._ids, self._ahead = self._ahead, {}, {}
        return Arrival.model_validate(self._call("ingest", period))

    def monitor(self, period: int) -> Signal:
        """Production: the monitor compares the batch with the reference."""
        return Signal.model_validate(self._call("monitor", period))

    def decide(self, period: int, signal: Signal) -> Decision:
        """Production: the policy says whether to retrain."""
        return Decision.model_validate(self._call("decide", period, signal=signal.model_dump(mode="json")))

    def filter(self, period: int, subject: Literal["champion", "candidate"]) -> tuple[int, bool, list[Outcome]]:
        """Production: rows dropped, whether a filter asks to train again, outcomes."""
        if "filter" not in self.surfaces:
            return 0, False, []
        answer = self._call("filter", period, subject=subject)
        return answer["dropped"], answer["again"], _outcomes(answer)

    def train(self, period: int) -> dict[str, Any]:
        """Production: the champion is fine-tuned on the window."""
        return self._call("train", period)

    def repair(self, period: int) -> list[Outcome]:
        """Production: the repairs change the candidate."""
        if "repair" not in self.surfaces:
            return []
        return _outcomes(self._call("repair", period))

    def inspect(self, period: int, subject: Literal["champion", "candidate", "challenger"]) -> list[Outcome]:
        """Production: the inspectors judge a model."""
        if "inspector" not in self.surfaces:
            return []
        return _outcomes(self._call("inspect", period, subject=subject))

    def gate(self, period: int, outcomes: list[Outcome]) -> Judgement:
        """Production: candidate, champion and ancestors are re-scored and judged."""
        dumped = [outcome.model_dump(mode="json") for outcome in outcomes]
        return Judgement.model_validate(self._call("gate", period, outcomes=dumped))

    def register(self, period: int, ordinal: int, parent: int | None, training: Mapping[str, Any]) -> None:
        """Registry: store the candidate."""
        self._ids.update(self._call("register", period, ordinal=ordinal, parent=parent, training=dict(training)))

    def settle(self, period: int, signal: Signal, judgement: Judgement) -> None:
        """Production: carry out the judgement."""
        values = {"signal": signal.model_dump(mode="json"), "judgement": judgement.model_dump(mode="json")}
        self._host.call(self.key, "settle", {"period": period, **values})

    def probe(self, period: int, ordinal: int, when: When) -> tuple[dict[str, Reading], list[Outcome]]:
        """Observer: read a version."""
        answer = self._call("probe", period, ordinal=ordinal, when=when)
        return _readings(answer), _outcomes(answer)

    @property
    def compares(self) -> frozenset[When]:
        """When some probe compares a version with the paced twin's."""
        if self._compares is None:
            self._compares = frozenset(self._host.call(self.key, "compares", {})[0]["when"])
        return self._compares

    def compare(self, period: int, ordinal: int, when: When, control: Mapping[str, Tensor]) -> dict[str, Reading]:
        """Observer: read a version beside the paced twin's, whose weights are `control` (empty: there is no twin).

        The tensors travel with the stage, not among its arguments: those stay small JSON values.
        """
        stage = self._wrap("probe", self._stage("probe", control))
        return _readings(self._call("probe", period, stage, ordinal=ordinal, when=when, compared=True))

    def weights(self, ordinal: int) -> dict[str, Tensor]:
        """A version's weights, of those at hand."""
        return self._host.call(self.key, "weights", {"ordinal": ordinal})[1]

    def unread(self, when: When, reason: str) -> dict[str, Reading]:
        """Observer: the readings that are not taken now."""
        return _readings(self._host.call(self.key, "unread", {"when": when, "reason": reason})[0])

    def close_period(self) -> tuple[str, dict[str, Any]]:
        """The champion's digest, and the state that a fresh process needs."""
        answer, _ = self._host.call(self.key, "close_period", {})
        self._defense_seconds = answer["defense_seconds"]
        peak = answer["device_memory"]
        self._device_memory = {} if peak is None else {"device_memory_bytes": peak}
        return answer["weights"], answer["state"]

    def commit(self, record: PeriodRecord) -> Entry:
        """Ledger: publish the period, then write it down. Only then is it done."""
        beside = {"timing": dict(self._seconds), "defense_seconds": self._defense_seconds, "ids": dict(self._ids)}
        beside |= self._device_memory
        dumped = record.model_dump(mode="json")
        published = self._call("commit", record.period, record=dumped, beside=beside)
        entry = Entry(record, record.digest(), published["beside"])
        self._now, self._since = self._after(record), ()
        self._listen(
            Event(
                "period-committed",
                self._run,
                *self._who(),
                record.period,
                "commit",
                sum(self._seconds.values()),
                record,
            )
        )
        return entry

    # -- a fresh process -----------------------------------------------------------------------------------------------

    def start(self, past: LinePast) -> None:
        """Continue after the committed periods, if any, and after what was done from outside since.

        What a killed process left uncommitted is removed, and what it left undone of a roll-back is done.
        """
        self._now, self._since = past.now, past.since
        with self._lock:
            bring_back(self._registry, self._ledger, past)
        if past.entries:
            state = past.entries[-1].record.state
            self._restore(state)
            for action in past.since:
                self._act(action, state)

    def _restore(self, state: Mapping[str, Any]) -> None:
        tensors = self._tensors(state["platform"]["kept"])
        self._host.call(self.key, "restore", {"state": dict(state)}, tensors)

    def _act(self, action: Action, state: Mapping[str, Any]) -> None:
        """Do to the line what was done to its arm: a version comes back with its nearest ancestors."""
        tensors: dict[str, Tensor] = {}
        if action.to is not None:
            platform = state["platform"]
            needed = ancestry(dict(platform["parents"]), action.to)
            tensors = self._tensors([ordinal for ordinal in needed if ordinal not in platform["kept"]])
        self._host.call(self.key, "act", {"action": action.model_dump(mode="json")}, tensors)

    def _tensors(self, ordinals: Iterable[int]) -> dict[str, Tensor]:
        """The weights of versions as they travel to a line: named `ORDINAL/PARAMETER`."""
        with self._lock:
            return {
                f"{ordinal}/{name}": value
                for ordinal in ordinals
                for name, value in self._registry.weights(self.key, ordinal).items()
            }

    # -- inside --------------------------------------------------------------------------------------------------------

    def _after(self, record: PeriodRecord) -> Standing:
        return Standing((*self._now.served, record.version), record.candidate, record.challenger)

    def _who(self) -> tuple[str, str]:
        return self.key.arm, self.key.control

    def _call(self, stage: str, period: int, function: Stage | None = None, /, **arguments: Any) -> dict[str, Any]:
        began = time.perf_counter()
        answer = (function or self._wrapped[stage])(self.key.arm, self.key.control, period, **arguments)
        seconds = time.perf_counter() - began
        self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
        self._listen(Event("stage-finished", self._run, *self._who(), period, stage, seconds))
        return answer

    def _stage(self, name: str, tensors: Mapping[str, Tensor] | None = None) -> Stage:
        if name == "register":
            return self._register
        if name == "commit":
            return self._commit
        method = {"gate": "judge"}.get(name, name)

        def call(arm: str, control: str, period: int, **arguments: Any) -> dict[str, Any]:
            return self._host.call(self.key, method, {"period": period, **arguments}, tensors)[0]

        return call

    def _register(
        self, arm: str, control: str, period: int, *, ordinal: int, parent: int | None, training: dict[str, Any]
    ) -> dict[str, Any]:
        answer, weights = self._host.call(self.key, "weights", {"ordinal": -1})
        payload = VersionPayload(self.key, ordinal, parent, period, weights, answer["architecture"], training)
        with self._lock:
            return dict(self._registry.register(payload))

    def _commit(
        self, arm: str, control: str, period: int, *, record: dict[str, Any], beside: dict[str, Any]
    ) -> dict[str, Any]:
        value = PeriodRecord.model_validate(record)
        began = time.perf_counter()
        with self._lock:
            self._registry.publish(value, beside, self._after(value))
            timing = {**beside["timing"], "commit": time.perf_counter() - began}
            entry = Entry(value, value.digest(), {**beside, "timing": timing})
            self._ledger.commit(entry)
        return {"sha256": entry.sha256, "beside": dict(entry.metadata)}


def _outcomes(answer: Mapping[str, Any]) -> list[Outcome]:
    return [Outcome.model_validate(outcome) for outcome in answer["outcomes"]]


def _readings(answer: Mapping[str, Any]) -> dict[str, Reading]:
    return {name: Reading.model_validate(reading) for name, reading in answer["readings"].items()}
