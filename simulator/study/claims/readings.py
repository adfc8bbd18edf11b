"""The value of one timeline: a survival, an event, or a reading of the versions that the endpoint names."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from scipy.stats import spearmanr

from simulator.observer.evidence import Evidence
from simulator.observer.measures import ABSENT
from simulator.observer.probes.arithmetic import ABOVE_EVERY_DOSE
from simulator.observer.probes.shared import NO_ATTACK
from simulator.observer.survival import Survival, survival
from simulator.records import LineageKey, PeriodRecord, Reading
from simulator.study.claims.values import Value
from simulator.study.model import ERASED, SURVIVAL, EndpointSpec
from simulator.study.timelines import PlayedTimeline

#: the dose above every dose: that of the full trigger
FULL_DOSE = 1.0
#: readings that a rank correlation needs
LEAST = 3
Read = Callable[[PeriodRecord], Value]


def value_of(played: PlayedTimeline, measure: str, endpoint: EndpointSpec, before: int | None = None) -> Value:
    """Return the value of one timeline: of `survival` or `erased`, or of the reading `measure` (its name has a `/`).

    A reading counts only as evidence: that of a backdoor is undefined where the version has no verdict. Where the
    endpoint is about erased backdoors, one that was not erased by the period `before` (None: by the end) is excluded.
    An event is 1 where it happened, 0 where not.
    """
    if played.diverged is not None:
        return Value.undefined(played.diverged)
    found = evidence_in(played)
    if endpoint.given == "erased" and not _erased_by(found, endpoint.threshold, before):
        when = "" if before is None else f" by period {before}"
        return Value.excluded(f"not erased{when}: the claim is about erased backdoors")
    if measure == SURVIVAL:
        return _life(found, endpoint.threshold)
    if measure == ERASED:
        return _is_erased(found, endpoint)
    value = _read(found, measure, endpoint)
    if endpoint.below is None or value.number is None:
        return value
    return Value(float(value.number < endpoint.below))


def at_start(played: PlayedTimeline, reading: str) -> Value:
    """Return a reading of the base model."""
    if played.diverged is not None:
        return Value.undefined(played.diverged)
    found = evidence_in(played)
    return _value(found.reading(found.records[0], reading))


def evidence_in(played: PlayedTimeline) -> Evidence:
    """Return the readings of a timeline's arm as verdicts may use them."""
    twin = LineageKey(arm=played.timeline.arm, control="paced").name
    return Evidence.of(played.entries[played.timeline.arm], played.entries.get(twin, ()))


def _life(found: Evidence, threshold: float) -> Value:
    life = survival(found.served(), threshold)
    if life.updates is None:
        return _no_life(life, found)
    return Value(float(life.updates), ended=bool(life.ended), state=life.state)


def _no_life(life: Survival, found: Evidence) -> Value:
    if life.reached is False:
        return Value.excluded(f"not planted: net attack success never reached {100 * life.threshold:g} %")
    what = "survival is unknown" if life.reached else "unknown whether it was planted"
    return Value.undefined(f"{what}: net attack success is undefined: {found.missing()}")


def _is_erased(found: Evidence, endpoint: EndpointSpec) -> Value:
    """Whether the backdoor is erased by the update `horizon`; erasure takes two periods, so one more must be seen."""
    horizon = endpoint.horizon
    assert horizon is not None  # the model's own rule
    served = found.served()
    life = survival(served, endpoint.threshold)
    fewest, most = life.between or (0, None)
    if life.updates is None and life.between is not None:  # the missing readings may leave no doubt
        if most is not None and most <= horizon:
            return Value(1.0)
        if fewest > horizon:
            return Value(0.0)
    if life.updates is None:
        return _no_life(life, found)
    if life.ended:
        return Value(float(life.updates <= horizon))
    last = served[-1].net
    if life.updates > horizon or (life.updates == horizon and last is not None and last >= endpoint.threshold):
        return Value(0.0)
    return Value.undefined(f"followed for {life.updates} updates only, the backdoor not erased")


def _erased_by(found: Evidence, threshold: float, before: int | None) -> bool:
    """Whether two consecutive periods up to the period `before` are below the threshold."""
    served = [one for one in found.served() if before is None or one.period <= before]
    return bool(served) and survival(served, threshold).erased is not None


def _read(found: Evidence, measure: str, endpoint: EndpointSpec) -> Value:
    over, last = endpoint.over, found.records[-1]

    def read(record: PeriodRecord) -> Value:
        return _value(found.reading(record, measure), measure, endpoint)

    if isinstance(over, tuple):
        return _mean_of_updates(found.records, over, read)
    if over == "trend":
        return _trend(found.records, read)
    if over == "mean":
        return _mean([read(record) for record in _from_first_update(found.records)])
    if over == "first":
        after = _from_first_update(found.records)
        return read(after[0]) if after else Value.undefined("no update was promoted")
    if over == "last":
        return read(last)
    if over == "erased":
        return _of_the_erased(found, endpoint.threshold, read)
    if over > last.period:
        return Value.undefined(f"the timeline ends with period {last.period}")
    return read(_of_period(found.records, over))


def _of_the_erased(found: Evidence, threshold: float, read: Read) -> Value:
    life = survival(found.served(), threshold)
    if life.erased is not None:
        return read(_of_period(found.records, life.erased))
    if life.ended is False or found.missing() == NO_ATTACK:  # none is erased
        return read(found.records[-1])
    return Value.undefined(
        f"unknown which version is the erased one: net attack success is undefined: {found.missing()}"
    )


def _from_first_update(records: Sequence[PeriodRecord]) -> list[PeriodRecord]:
    """The periods from the first promoted retraining on."""
    first = next((index for index, record in enumerate(records) if _is_update(record)), len(records))
    return list(records[first:])


def _is_update(record: PeriodRecord) -> bool:
    return record.period > 0 and record.judgement.action == "promoted"


def _mean_of_updates(records: Sequence[PeriodRecord], over: tuple[int, int], read: Read) -> Value:
    updates = [record for record in records if _is_update(record)]
    if len(updates) < over[1]:
        return Value.undefined(f"{len(updates)} updates were promoted, {over[1]} are needed")
    return _mean([read(record) for record in updates[over[0] - 1 : over[1]]])


def _trend(records: Sequence[PeriodRecord], read: Read) -> Value:
    """Spearman's correlation of the reading with the number of the update, the base model being 0."""
    values = [read(record) for record in records if record.period == 0 or _is_update(record)]
    numbers = [value.number for value in values if value.number is not None]
    if len(numbers) < len(values):
        return _mean(values)  # says in how many it is undefined
    if len(numbers) < LEAST or len(set(numbers)) == 1:
        return Value.undefined("fewer than three versions, or all readings are equal: there is no rank correlation")
    rho = float(spearmanr(range(len(numbers)), numbers).statistic)
    return Value(rho) if math.isfinite(rho) else Value.undefined("the rank correlation is not finite")


def _of_period(records: Sequence[PeriodRecord], period: int) -> PeriodRecord:
    return next(record for record in records if record.period == period)


def _value(reading: Reading, measure: str = "", endpoint: EndpointSpec | None = None) -> Value:
    """The reading's value; one without a value counts as its endpoint says, as a lower bound."""
    if reading.value is not None or endpoint is None or reading.reason == ABSENT:
        return Value(reading.value, reason=reading.reason)
    if isinstance(endpoint.undefined, float):
        return Value(endpoint.undefined, ended=False)
    if endpoint.undefined is None and reading.reason == ABOVE_EVERY_DOSE:
        return Value(FULL_DOSE, ended=False)
    return Value(None, reason=reading.reason)


def _mean(values: Sequence[Value]) -> Value:
    if not values:
        return Value.undefined("no update was promoted")
    numbers = [value.number for value in values if value.number is not None]
    if len(numbers) < len(values):
        why = next(value.reason for value in values if value.number is None)
        return Value.undefined(f"undefined in {len(values) - len(numbers)} of {len(values)} periods: {why}")
    return Value(fmean(numbers), ended=all(value.ended for value in values))
