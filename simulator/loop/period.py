"""The loop: one period of an arm and its twins, read top to bottom.

What arrives is monitored, decided on, filtered, trained on, repaired, inspected, registered, judged, probed, committed.
A stage is a method of `Lineage`, named here as in Prefect and in the bench; `lineage.stage` runs, times and announces
it, `lineage.ask` runs what is no stage. `register` and `commit` go to the stores, so they are `RunningLineage`'s own. A
paced twin replays its arm's decisions; net readings are derived when both have been read, and both are committed. Each
arm has a thread here and a process of its own. It ends where its training diverges; without a twin it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from simulator.errors import DivergedError
from simulator.loop.lineage import Lineage
from simulator.loop.played import Played, Readings, Twin
from simulator.loop.stages import Before, RunningLineage, nothing
from simulator.observer.derive import NO_TWIN, net_readings
from simulator.observer.milestones import is_milestone
from simulator.observer.probes.base import When
from simulator.production.defending.combined import of_two_calls
from simulator.production.judging import inspectors
from simulator.production.registry.base import Entry
from simulator.records import (
    Control,
    Decision,
    Filtered,
    Judgement,
    LineageKey,
    Outcome,
    PeriodRecord,
    Subject,
)  # fmt: skip

#: the scenario's and the source's
Digests = tuple[str, str]
_JUDGED: tuple[Subject, ...] = ("candidate", "challenger")  # by the gate


def play_arm(
    arm: RunningLineage,
    twins: Sequence[Twin],
    periods: range,
    last: int,
    digests: Digests,
    ended: Mapping[Control, int] | None = None,
    before: Before = nothing,
) -> Iterator[dict[LineageKey, Entry]]:
    """Play `periods` of an arm and its twins; yield what each has committed. `last` is the scenario's last period.

    `ended`: the periods in which twins have diverged that are not among `twins`. `before` is called before each period.
    """
    ended = dict(ended or {})
    for period in periods:
        before(arm, [twin.lineage for twin in twins])
        try:
            played, diverged = _play_together(arm, twins, period)
        except DivergedError as error:
            arm.end(period, str(error), [twin.lineage for twin in twins])
            return
        for lineage in [twin.lineage for twin in twins if twin.lineage.key.control in diverged]:
            lineage.end(period, diverged[lineage.key.control])
            ended[lineage.key.control] = period
        twins = [twin for twin in twins if twin.lineage.key.control not in ended]
        missing = f"training of the paced twin diverged in period {ended['paced']}" if "paced" in ended else NO_TWIN
        readings = _read_together(arm, twins, played, period, last, missing)
        yield {  # the arm last: with it the period is done
            lineage.key: _commit(lineage, period, played[lineage.key.name], readings[lineage.key.name], digests)
            for lineage in (*(twin.lineage for twin in twins), arm)
        }


def play_period(lineage: RunningLineage, period: int, replay: Played | None = None) -> Played:
    """Play one period of one lineage. A paced twin is handed its arm's period, `replay`, and follows its decisions."""
    arrival = lineage.stage(Lineage.ingest, period)
    signal = lineage.stage(Lineage.monitor, period)
    decision = lineage.stage(Lineage.decide, period, signal) if replay is None else _followed(replay.decision)

    if decision.recipe:
        lineage.ask(Lineage.retrain_by, decision.recipe)
    candidate = lineage.state.next_ordinal if decision.retrain else None
    if candidate is not None:
        training, outcomes = _update(lineage, period)
        lineage.register(period, candidate, training)
    else:
        training, outcomes = {}, _inspect_serving(lineage, period)

    judgement, outcomes = _judge(lineage, period, outcomes, replay, has_candidate=candidate is not None)
    lineage.ask(Lineage.apply, period, signal, judgement)

    probed = lineage.stage(Lineage.probe, period, judgement.serving, "every")
    candidate_readings: Readings = {}
    if candidate is not None and candidate != judgement.serving:
        candidate_readings = lineage.stage(Lineage.probe, period, candidate, "every").readings
    return Played(
        arrival=arrival,
        signal=signal,
        decision=decision,
        judgement=judgement,
        candidate=candidate,
        outcomes=(*outcomes, *probed.outcomes),
        training=training,
        readings=probed.readings,
        candidate_readings=candidate_readings,
    )


# -- the stages that a period may repeat or leave out ------------------------------------------------------------------


def _update(lineage: RunningLineage, period: int) -> tuple[dict[str, Any], tuple[Outcome, ...]]:
    """Filters, training, repairs, inspectors: from a window to a candidate that can be judged.

    Filters look at the window with the champion's features, and one may ask once to look again with the candidate's.
    The second verdict replaces the first; what was asked for, and what it cost, is of both. Period 0 has no champion:
    the filters look only once its candidate is trained.
    """
    unseen = Filtered(again=True)
    filtered = unseen if lineage.state.champion is None else _filter(lineage, period, "champion")
    updated = lineage.stage(Lineage.train, period)
    if filtered.again:
        before, filtered = filtered, _filter(lineage, period, "candidate")
        looks = of_two_calls(before.outcomes, filtered.outcomes)
        filtered = filtered.model_copy(update={"outcomes": looks})
        if filtered.dropped or before.dropped:  # the second look replaces the first: its rows may be back
            first, updated = updated, lineage.stage(Lineage.train, period)
            trainings = of_two_calls(first.outcomes, updated.outcomes)
            updated = updated.model_copy(update={"outcomes": trainings})
    repaired = lineage.stage(Lineage.repair, period) if "repair" in lineage.facts.surfaces else ()
    inspected = _inspect(lineage, period, "candidate")
    outcomes = (*filtered.outcomes, *updated.outcomes, *repaired, *inspected)
    return {**updated.training, "dropped": filtered.dropped}, outcomes


def _filter(lineage: RunningLineage, period: int, subject: Subject) -> Filtered:
    return lineage.stage(Lineage.filter, period, subject) if "filter" in lineage.facts.surfaces else Filtered()


def _inspect(lineage: RunningLineage, period: int, subject: Subject) -> tuple[Outcome, ...]:
    return lineage.stage(Lineage.inspect, period, subject) if "inspector" in lineage.facts.surfaces else ()


def _inspect_serving(lineage: RunningLineage, period: int) -> tuple[Outcome, ...]:
    """Inspect the champion, and the challenger that is in shadow."""
    challenger = () if lineage.state.challenger is None else ("challenger",)
    subjects: tuple[Subject, ...] = ("champion", *challenger)
    return tuple(outcome for subject in subjects for outcome in _inspect(lineage, period, subject))


def _judge(
    lineage: RunningLineage, period: int, outcomes: tuple[Outcome, ...], replay: Played | None, *, has_candidate: bool
) -> tuple[Judgement, tuple[Outcome, ...]]:
    """Ask the gate, or replay the arm's judgement.

    What would be promoted is looked at once more, where some inspector is asked only then. Where the champion goes on
    serving in a candidate's place it is inspected too. Each time the gate is asked again.
    """
    if replay is not None:
        why = f"replayed from the arm: {replay.judgement.action}"
        return replay.judgement.model_copy(update={"why": why, "numbers": {}}), outcomes
    judgement = lineage.stage(Lineage.gate, period, outcomes)
    if judgement.action == "promoted" and lineage.facts.at_promotion and not inspectors(outcomes, _JUDGED, "flagged"):
        looked = lineage.stage(Lineage.inspect, period, _JUDGED[not has_candidate], at_promotion=True)
        outcomes = (*outcomes, *looked)
        judgement = lineage.stage(Lineage.gate, period, outcomes) if looked else judgement
    if not has_candidate or judgement.action not in ("rejected", "held", "error"):
        return judgement, outcomes
    inspected = _inspect(lineage, period, "champion")
    if not inspected:
        return judgement, outcomes
    outcomes = (*outcomes, *inspected)
    return lineage.stage(Lineage.gate, period, outcomes), outcomes


def _followed(decision: Decision) -> Decision:
    return decision.model_copy(update={"why": f"replayed from the arm: {decision.why}"})


# -- an arm and its twins ----------------------------------------------------------------------------------------------


def _play_together(
    arm: RunningLineage, twins: Sequence[Twin], period: int
) -> tuple[dict[str, Played], dict[Control, str]]:
    """Play a period of all lineages: those that wait for nothing in parallel with the arm, the others after it.

    Returns what was played, and of twins whose training diverged the reason. Raises `DivergedError` when the arm's did.
    """
    diverged: dict[Control, str] = {}
    with ThreadPoolExecutor(max_workers=max(1, len(twins))) as pool:
        parallel = {
            twin.lineage.key.name: pool.submit(copy_context().run, play_period, twin.lineage, period)
            for twin in twins
            if twin.parallel
        }
        own = play_period(arm, period)
        played = {arm.key.name: own}
        for twin in twins:
            name = twin.lineage.key.name
            replay = own if twin.replays else None
            try:
                played[name] = parallel[name].result() if twin.parallel else play_period(twin.lineage, period, replay)
            except DivergedError as error:
                diverged[twin.lineage.key.control] = str(error)
    return played, diverged


def _read_together(
    arm: RunningLineage, twins: Sequence[Twin], played: Mapping[str, Played], period: int, last: int, missing: str
) -> dict[str, Readings]:
    """Derive the net readings against the paced twin, or say why it is `missing`.

    At a milestone the costly readings of both are taken first.
    """
    control = next((twin.lineage for twin in twins if twin.lineage.key.control == "paced"), None)
    serving = played[arm.key.name].judgement.serving
    own = played[arm.key.name].readings | _compared(arm, control, period, serving, "every")
    other: Readings | None = None
    if control is not None:
        other = played[control.key.name].readings | _compared(control, None, period, serving, "every")
    milestone = is_milestone(arm.state.records, {**own, **net_readings(own, other, missing)}, period, last)
    own |= _costly(arm, control, period, serving, milestone)
    if other is not None and control is not None:
        other |= _costly(control, None, period, serving, milestone)
    read = {name: one.readings for name, one in played.items()}
    if other is not None and control is not None:
        read[control.key.name] = other
    return read | {arm.key.name: own | net_readings(own, other, missing)}


def _costly(
    lineage: RunningLineage, control: RunningLineage | None, period: int, ordinal: int, milestone: bool
) -> Readings:
    if not milestone:
        return lineage.ask(Lineage.unread, "milestones", "read on the first erased and the last version only")
    probed = lineage.stage(Lineage.probe, period, ordinal, "milestones")
    return probed.readings | _compared(lineage, control, period, ordinal, "milestones")


def _compared(
    lineage: RunningLineage, control: RunningLineage | None, period: int, ordinal: int, when: When
) -> Readings:
    """What is read of a version against the paced twin's of the same ordinal, if any probe asks for that.

    `control` None: there is no such twin, or `lineage` is it.
    """
    if when not in lineage.facts.compares:
        return {}
    weights = None if control is None else control.ask(Lineage.weights, ordinal)
    return lineage.stage(Lineage.probe, period, ordinal, when, compared=True, control=weights).readings


def _commit(lineage: RunningLineage, period: int, played: Played, readings: Readings, digests: Digests) -> Entry:
    """Make the period's record and commit it."""
    end = lineage.ask(Lineage.close_period)
    platform = end.state["platform"]
    parents, serving = dict(platform["parents"]), played.judgement.serving
    record = PeriodRecord(
        run=lineage.run,
        arm=lineage.key.arm,
        control=lineage.key.control,
        period=period,
        version=serving,
        parent=parents[serving],
        candidate=played.candidate,
        candidate_parent=None if played.candidate is None else parents[played.candidate],
        challenger=None if platform["shadow"] is None else platform["shadow"]["challenger"],
        actions=list(lineage.state.since),
        arrival=played.arrival,
        signal=played.signal,
        decision=played.decision,
        judgement=played.judgement,
        readings=readings,
        candidate_readings=played.candidate_readings,
        outcomes=list(played.outcomes),
        training=played.training,
        state=end.state,
        weights=end.weights,
        scenario=digests[0],
        replay=end.replay,
        source=digests[1],
    )
    return lineage.commit(record, end)
