"""The loop: a period, read top to bottom. See docs/decisions for why it reads the way it does.

Each arm advances with its twins: the paced twin replays the arm's decisions, net readings are derived when both have
been read, and both are committed. Arms are independent; each is driven by one thread here and works in its own process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any

from simulator.loop.stages import Stages
from simulator.observer.derive import net_readings
from simulator.observer.milestones import is_milestone
from simulator.observer.probes.base import When
from simulator.production.registry.base import Entry
from simulator.records import Arrival, Decision, Judgement, Outcome, PeriodRecord, Reading, Signal

__all__ = ["Digests", "Past", "Played", "Twin", "play_arm", "play_line"]

#: the scenario's and the source's
Digests = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Past:
    """What the loop remembers of a line: all of it comes from committed records."""

    entries: tuple[Entry, ...] = ()

    @property
    def candidates(self) -> int:
        """How many versions were trained: the next candidate's ordinal."""
        return sum(entry.record.candidate is not None for entry in self.entries)

    def after(self, entry: Entry) -> Past:
        """Return the past with one more period, without the state that only a fresh process needs: it is long."""
        return Past((*self.entries, replace(entry, record=entry.record.model_copy(update={"state": {}}))))


@dataclass(frozen=True, slots=True)
class Twin:
    """A control line. `replays` its arm's decisions; `beside`: it has a process of its own and waits for nothing."""

    lineage: Stages
    replays: bool
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Played:
    """A period of one line, played and read but not yet committed."""

    arrival: Arrival
    signal: Signal
    decision: Decision
    judgement: Judgement
    candidate: int | None
    outcomes: tuple[Outcome, ...]
    training: dict[str, Any]
    readings: dict[str, Reading]
    candidate_readings: dict[str, Reading]


def play_line(lineage: Stages, period: int, past: Past, replay: Played | None = None) -> Played:
    """Play one period of one line. A paced twin is handed its arm's period and replays its decisions."""
    champion = lineage.now.champion

    arrival = lineage.ingest(period)
    signal = lineage.monitor(period)
    decision = _replayed(replay.decision) if replay else lineage.decide(period, signal)

    outcomes: list[Outcome] = []
    training: dict[str, Any] = {}
    candidate = past.candidates if decision.retrain else None
    if candidate is not None:
        training, outcomes = _update(lineage, period, first=champion is None)
        lineage.register(period, candidate, champion, training)
    elif champion is not None:
        outcomes = lineage.inspect(period, "champion")
        if lineage.now.challenger is not None:
            outcomes += lineage.inspect(period, "challenger")

    judgement = _judged(lineage, period, outcomes, replay, trained=candidate is not None)
    lineage.settle(period, signal, judgement)

    readings, screened = lineage.probe(period, judgement.serving, "every")
    rejected = candidate is not None and candidate != judgement.serving
    others = lineage.probe(period, candidate, "every")[0] if rejected and candidate is not None else {}
    return Played(
        arrival, signal, decision, judgement, candidate, (*outcomes, *screened), training, readings, others
    )  # fmt: skip


def play_arm(
    run: str, arm: Stages, twins: Sequence[Twin], pasts: dict[str, Past], periods: range, last: int, digests: Digests
) -> Iterator[dict[str, Entry]]:
    """Play `periods` of an arm and its twins, yielding each period's committed entries by line name."""
    for period in periods:
        played = _play_together(arm, twins, pasts, period)
        read = _read_together(arm, twins, played, pasts[arm.key.name], period, last)
        committed: dict[str, Entry] = {}
        for lineage in (*(twin.lineage for twin in twins), arm):  # the arm last: with it the period is done
            name = lineage.key.name
            record = _record(run, lineage, period, played[name], read[name], digests)
            committed[name] = lineage.commit(record)
        pasts = {name: past.after(committed[name]) for name, past in pasts.items()}
        yield committed


def _play_together(arm: Stages, twins: Sequence[Twin], pasts: dict[str, Past], period: int) -> dict[str, Played]:
    """Play a period of all lines: those that wait for nothing beside the arm, the others after it."""
    with ThreadPoolExecutor(max_workers=max(1, len(twins))) as pool:
        side = {
            twin.lineage.key.name: pool.submit(
                copy_context().run, play_line, twin.lineage, period, pasts[twin.lineage.key.name]
            )
            for twin in twins
            if twin.beside
        }
        first = play_line(arm, period, pasts[arm.key.name])
        played = {arm.key.name: first}
        for twin in twins:
            name = twin.lineage.key.name
            replay = first if twin.replays else None
            played[name] = side[name].result() if twin.beside else play_line(twin.lineage, period, pasts[name], replay)
    return played


def _update(lineage: Stages, period: int, *, first: bool) -> tuple[dict[str, Any], list[Outcome]]:
    """Filters, training, repairs, inspectors: from a window to a judged candidate."""
    dropped, again, outcomes = (0, True, []) if first else lineage.filter(period, "champion")
    training = lineage.train(period)
    if again:  # asked once, with the candidate's features; at period 0 there were no others
        before = dropped
        dropped, _, outcomes = lineage.filter(period, "candidate")
        if dropped or before:  # the first look's verdict is replaced, so that its rows may be back
            training = lineage.train(period)
    outcomes = [*outcomes, *lineage.repair(period), *lineage.inspect(period, "candidate")]
    return {**training, "dropped": dropped}, outcomes


def _replayed(decision: Decision) -> Decision:
    return Decision(retrain=decision.retrain, why=f"replayed from the arm: {decision.why}")


def _judged(
    lineage: Stages, period: int, outcomes: list[Outcome], replay: Played | None, *, trained: bool
) -> Judgement:
    """The gate's judgement. A champion that goes on serving though one was `trained` is inspected before it may."""
    if replay is not None:
        return replay.judgement.model_copy(
            update={"why": f"replayed from the arm: {replay.judgement.action}", "numbers": {}}
        )
    judgement = lineage.gate(period, outcomes)
    if trained and judgement.action in ("rejected", "held", "error"):
        outcomes += lineage.inspect(period, "champion")
        judgement = lineage.gate(period, outcomes)
    return judgement


def _read_together(
    arm: Stages, twins: Sequence[Twin], played: dict[str, Played], past: Past, period: int, last: int
) -> dict[str, dict[str, Reading]]:
    """Derive the net readings against the paced twin; at a milestone take the costly readings of both first."""
    control = next((twin.lineage for twin in twins if twin.lineage.key.control == "paced"), None)
    serving = played[arm.key.name].judgement.serving
    own = played[arm.key.name].readings | _compared(arm, control, period, serving, "every")
    other = None
    if control is not None:
        other = played[control.key.name].readings | _compared(control, None, period, serving, "every")
    net = net_readings(own, other)
    milestone = is_milestone([entry.record for entry in past.entries], {**own, **net}, period, last)
    own |= _costly(arm, control, period, serving, milestone)
    if other is not None and control is not None:
        other |= _costly(control, None, period, serving, milestone)
    read = {arm.key.name: own | net_readings(own, other)}
    for twin in twins:
        name = twin.lineage.key.name
        read[name] = other if twin.lineage is control and other is not None else dict(played[name].readings)
    return read


def _costly(lineage: Stages, control: Stages | None, period: int, ordinal: int, milestone: bool) -> dict[str, Reading]:
    if milestone:
        return lineage.probe(period, ordinal, "milestones")[0] | _compared(
            lineage, control, period, ordinal, "milestones"
        )
    return lineage.unread("milestones", "read on the first erased and the last version only")


def _compared(lineage: Stages, control: Stages | None, period: int, ordinal: int, when: When) -> dict[str, Reading]:
    """What is read of a version beside the paced twin's of the same ordinal, if any probe asks for that."""
    if when not in lineage.compares:
        return {}
    return lineage.compare(period, ordinal, when, {} if control is None else control.weights(ordinal))


def _record(
    run: str, lineage: Stages, period: int, played: Played, readings: dict[str, Reading], digests: Digests
) -> PeriodRecord:
    weights, state = lineage.close_period()
    parents = dict(state["platform"]["parents"])
    serving = played.judgement.serving
    return PeriodRecord(
        run=run,
        arm=lineage.key.arm,
        control=lineage.key.control,
        period=period,
        version=serving,
        parent=parents[serving],
        candidate=played.candidate,
        candidate_parent=None if played.candidate is None else parents[played.candidate],
        challenger=None if state["platform"]["shadow"] is None else state["platform"]["shadow"]["challenger"],
        actions=list(lineage.since),
        arrival=played.arrival,
        signal=played.signal,
        decision=played.decision,
        judgement=played.judgement,
        readings=readings,
        candidate_readings=played.candidate_readings,
        outcomes=list(played.outcomes),
        training=played.training,
        state=state,
        weights=weights,
        scenario=digests[0],
        source=digests[1],
    )
