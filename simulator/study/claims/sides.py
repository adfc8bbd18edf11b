"""The endpoint of a comparison and the values of its two sides, seed by seed.

A side is a setting, a reference number, or a rank correlation within each seed. Each value is a number or the reason
why there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from scipy.stats import spearmanr

from simulator.observer.evidence import Evidence
from simulator.observer.measures import MEASURES, Measure
from simulator.observer.probes.shared import NO_ATTACK
from simulator.observer.survival import Survival, survival
from simulator.records import LineageKey, PeriodRecord, Reading
from simulator.study.claims.values import Field, SideValues, Value
from simulator.study.model import RANK_CORRELATION, SURVIVAL, Correlation, EndpointSpec, Side
from simulator.study.statistics.values import Endpoint
from simulator.study.timelines import PlayedTimeline

#: the reading that decides survival
LIVED = "backdoor/net_attack_success"
#: settings that a rank correlation needs
_LEAST = 3
_READINGS = {item.reading: item for item in MEASURES if item.reading is not None}
_KEYS = {item.key: item for item in _READINGS.values()}
_OVER = {
    "first": "of the version of the first update",
    "last": "of the version that serves at the end",
    "mean": "mean over the periods from the first update on",
    "erased": "of the version that the backdoor is erased by, of the last where it never is",
}
_COLUMNS = {"updates": "updates", "periods": "periods", "alarms": "alarms", "accuracy": "share", "seconds": "seconds"}


def endpoint_of(spec: EndpointSpec, other: Side) -> Endpoint:
    """Return the endpoint that `spec` asks for; a survival held against a number is a paired difference."""
    if spec.measure == SURVIVAL:
        return _survival(spec, other.value is None)
    if spec.measure == RANK_CORRELATION:
        return Endpoint(spec.measure, "Spearman's rank correlation over settings, within each seed", "rho")
    if "/" in spec.measure:
        return _endpoint_of(spec)
    return Endpoint(spec.measure, f"column `{spec.measure}` of the timelines table", _unit(spec.measure))


def _survival(spec: EndpointSpec, compares_arms: bool) -> Endpoint:
    words = (
        f"updates until net attack success stays below {100 * spec.threshold:g} % for two periods in a row, "
        f"counted up to {spec.horizon:g}"
    )
    if compares_arms:
        return Endpoint(SURVIVAL, f"restricted mean of the {words}", "updates", "restricted mean", spec.horizon)
    return Endpoint(SURVIVAL, f"mean of the {words}, minus the reference", "updates")


def _endpoint_of(spec: EndpointSpec) -> Endpoint:
    item = _READINGS.get(spec.measure)
    label = f"`{spec.measure}`" if item is None else f"{item.label} (`{spec.measure}`)"
    when = _OVER.get(str(spec.over), f"of the version that serves after period {spec.over}")
    return Endpoint(spec.measure, f"{label} {when}", "number" if item is None else _unit_of(item))


def _unit(column: str) -> str:
    """The unit of a column: of a version's reading that of the reading."""
    key = column.removeprefix("initial_").removeprefix("final_")
    if key != column and key in _KEYS:
        return _unit_of(_KEYS[key])
    return next((unit for part, unit in _COLUMNS.items() if part in column), "number")


def _unit_of(item: Measure) -> str:
    return "share" if item.unit == "difference" else item.unit


def both_sides(one: Side, other: Side, endpoint: EndpointSpec, field: Field) -> tuple[SideValues, SideValues]:
    """Return both sides, each with a value or a reason at the seeds of either."""
    if endpoint.measure == RANK_CORRELATION:
        return _correlations(one, other, field)
    seeds = sorted({seed for side in (one, other) for seed in field.at(side.setting or "")})
    first = _of_setting(one, endpoint, field, seeds)
    if other.value is not None:
        return first, _reference(other.value, first)
    return first, _of_setting(other, endpoint, field, seeds)


def _of_setting(side: Side, endpoint: EndpointSpec, field: Field, seeds: Sequence[int]) -> SideValues:
    assert side.setting is not None  # the model's own rule
    measure = side.measure or endpoint.measure
    asked = endpoint if side.over is None else endpoint.model_copy(update={"over": side.over})
    values = {seed: _side_value(side.setting, seed, measure, asked, field) for seed in seeds}
    return SideValues(side_name(side), (side.setting,), values)


def _side_value(setting: str, seed: int, measure: str, endpoint: EndpointSpec, field: Field) -> Value:
    played = field.at(setting).get(seed)
    if played is not None and (measure == SURVIVAL or "/" in measure):
        return value_of(played, measure, endpoint)
    return field.column(setting, seed, measure)  # which says so where the seed was not played


def _reference(value: float, measured: SideValues) -> SideValues:
    return SideValues(side_name(Side(value=value)), (), dict.fromkeys(measured.by_seed, Value(value)))


def _correlations(one: Side, other: Side, field: Field) -> tuple[SideValues, SideValues]:
    """Both correlations are over the settings that have a value in all their columns, so that they can be compared."""
    asked = [side.correlation for side in (one, other) if side.correlation is not None]
    settings = tuple(dict.fromkeys(setting for item in asked for setting in item.settings))
    seeds = sorted({seed for setting in settings for seed in field.at(setting)})
    found: list[SideValues] = []
    for item in asked:
        values = {seed: _rho(item, shared_settings(asked, field, seed), field, seed) for seed in seeds}
        found.append(SideValues(side_name(Side(correlation=item)), item.settings, values))
    return found[0], found[1] if len(found) > 1 else _reference(other.value or 0.0, found[0])


def shared_settings(asked: Sequence[Correlation], field: Field, seed: int) -> frozenset[str]:
    """Return the settings with a value at `seed` in every column of the correlations `asked`."""
    columns = {(setting, name) for item in asked for setting in item.settings for name in (item.of, item.with_)}
    out = {setting for setting, name in columns if field.column(setting, seed, name).number is None}
    return frozenset(setting for setting, _ in columns) - out


def _rho(item: Correlation, shared: frozenset[str], field: Field, seed: int) -> Value:
    settings = [setting for setting in item.settings if setting in shared]
    if len(settings) < _LEAST:
        return Value.undefined(
            f"{len(settings)} of {len(item.settings)} settings have a value in every column, {_LEAST} are needed"
        )
    rows = [[field.column(setting, seed, name).number for setting in settings] for name in (item.of, item.with_)]
    for name, row in zip((item.of, item.with_), rows, strict=True):
        if len(set(row)) == 1:
            return Value.undefined(f"'{name}' is the same in all settings: there is no rank correlation")
    rho = float(spearmanr(np.asarray(rows[0]), np.asarray(rows[1])).statistic)
    return Value(rho) if math.isfinite(rho) else Value.undefined("the rank correlation is not finite")


def side_name(side: Side) -> str:
    """Return what a side is, in words: with its measure and version, where they are not the endpoint's."""
    if side.value is not None:
        return f"{side.value:g}"
    if side.correlation is not None:
        item = side.correlation
        return f"rank correlation of {item.of} with {item.with_} over {len(item.settings)} settings"
    own = [str(part) for part in (side.measure, side.over) if part is not None]
    return f"{side.setting} ({', '.join(own)})" if own else str(side.setting)


def value_of(played: PlayedTimeline, measure: str, endpoint: EndpointSpec) -> Value:
    """Return the survival in updates, or the reading `measure` (its name has a `/`) where `endpoint` takes it.

    A reading counts only as evidence: that of a backdoor is undefined where the version has no verdict.
    """
    if played.diverged is not None:
        return Value.undefined(played.diverged)
    found = evidence_in(played)
    if measure != SURVIVAL:
        return _read(found, measure, endpoint)
    life = survival(found.served(), endpoint.threshold)
    if life.updates is None:
        return Value.undefined(_why_no_life(life, found))
    return Value(float(life.updates), ended=bool(life.ended), state=life.state)


def _why_no_life(life: Survival, found: Evidence) -> str:
    if life.reached is False:
        return f"not planted: net attack success never reached {100 * life.threshold:g} %"
    what = "survival is unknown" if life.reached else "unknown whether it was planted"
    return f"{what}: net attack success is undefined: {found.missing()}"


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


def _read(found: Evidence, measure: str, endpoint: EndpointSpec) -> Value:
    over, last = endpoint.over, found.records[-1]
    if over == "mean":
        return _mean([found.reading(record, measure) for record in _from_first_update(found.records)])
    if over == "first":
        after = _from_first_update(found.records)
        return _value(found.reading(after[0], measure)) if after else Value.undefined("no update was promoted")
    if over == "last":
        return _value(found.reading(last, measure))
    if over == "erased":
        return _of_the_erased(found, measure, endpoint.threshold)
    if over > last.period:
        return Value.undefined(f"the timeline ends with period {last.period}")
    return _value(found.reading(_of_period(found.records, over), measure))


def _of_the_erased(found: Evidence, measure: str, threshold: float) -> Value:
    life = survival(found.served(), threshold)
    if life.erased is not None:
        return _value(found.reading(_of_period(found.records, life.erased), measure))
    if life.ended is False or found.missing() == NO_ATTACK:  # none is erased
        return _value(found.reading(found.records[-1], measure))
    return Value.undefined(
        f"unknown which version is the erased one: net attack success is undefined: {found.missing()}"
    )


def _from_first_update(records: Sequence[PeriodRecord]) -> list[PeriodRecord]:
    """The periods from the first promoted retraining on."""
    updates = (record.period > 0 and record.judgement.action == "promoted" for record in records)
    return list(records[next((index for index, update in enumerate(updates) if update), len(records)) :])


def _of_period(records: Sequence[PeriodRecord], period: int) -> PeriodRecord:
    return next(record for record in records if record.period == period)


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
