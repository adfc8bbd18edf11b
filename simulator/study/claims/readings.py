"""From a played timeline to the one value that an endpoint asks for, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from simulator.observer.summary import served
from simulator.observer.survival import Survival, survival
from simulator.production.registry.base import Entry
from simulator.records import Reading
from simulator.study.claims.values import Value
from simulator.study.model import SURVIVAL, EndpointSpec
from simulator.study.timelines import PlayedTimeline

__all__ = ["LIVED", "at_start", "value_of"]

#: the reading that survival is made of
LIVED = "backdoor/net_attack_success"
_NOT_MEASURED = "no probe of this scenario measures it"


def value_of(played: PlayedTimeline, measure: str, endpoint: EndpointSpec) -> Value:
    """Return the survival in updates, or the reading `measure` (its name has a `/`) where `endpoint` takes it."""
    line = played.entries[played.timeline.arm]
    if measure == SURVIVAL:
        return _lived(survival(served(line), endpoint.threshold))
    return _read(line, measure, endpoint)


def at_start(played: PlayedTimeline, reading: str) -> Value:
    """Return a reading of the base model."""
    return _value(_reading(played.entries[played.timeline.arm][0], reading))


def _lived(found: Survival) -> Value:
    if found.updates is None:
        return Value.undefined(f"not planted: net attack success never reached {100 * found.threshold:g} %")
    return Value(float(found.updates), ended=not found.censored)


def _read(line: Sequence[Entry], measure: str, endpoint: EndpointSpec) -> Value:
    over = endpoint.over
    if over == "mean":
        return _mean([_reading(entry, measure) for entry in _from_first_update(line)])
    if over == "first":
        after = _from_first_update(line)
        return _value(_reading(after[0], measure)) if after else Value.undefined("no update was promoted")
    if over == "last":
        return _value(_reading(line[-1], measure))
    if over == "erased":
        erased = survival(served(line), endpoint.threshold).erased
        return _value(_reading(line[-1] if erased is None else _of_period(line, erased), measure))
    if over > line[-1].record.period:
        return Value.undefined(f"the timeline ends with period {line[-1].record.period}")
    return _value(_reading(_of_period(line, over), measure))


def _from_first_update(line: Sequence[Entry]) -> list[Entry]:
    """The periods from the first promoted retraining on."""
    for index, entry in enumerate(line):
        if entry.record.period > 0 and entry.record.judgement.action == "promoted":
            return list(line[index:])
    return []


def _of_period(line: Sequence[Entry], period: int) -> Entry:
    return next(entry for entry in line if entry.record.period == period)


def _reading(entry: Entry, name: str) -> Reading:
    return entry.record.readings.get(name, Reading.undefined(_NOT_MEASURED))


def _value(reading: Reading) -> Value:
    return Value(reading.value, reason=reading.reason)


def _mean(readings: Sequence[Reading]) -> Value:
    if not readings:
        return Value.undefined("no update was promoted")
    numbers = [reading.value for reading in readings if reading.value is not None]
    if len(numbers) < len(readings):
        why = next(reading.reason for reading in readings if reading.value is None)
        return Value.undefined(f"undefined in {len(readings) - len(numbers)} of {len(readings)} periods: {why}")
    return Value(fmean(numbers))
