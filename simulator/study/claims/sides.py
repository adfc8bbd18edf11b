"""The endpoint of a comparison and the values of its two sides, seed by seed.

A side is a setting, a reference number, or a rank correlation within each seed. Each value is a number or the reason
why there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from simulator.observer.measures import MEASURES, Measure
from simulator.study.claims.readings import FULL_DOSE, LEAST, value_of
from simulator.study.claims.values import Field, SideValues, Value
from simulator.study.model import (
    COUNTED,
    ERASED,
    RANK_CORRELATION,
    SURVIVAL,
    Correlation,
    EndpointSpec,
    Side,
    is_share,
)
from simulator.study.statistics.values import Endpoint

#: the reading that decides survival
LIVED = "backdoor/net_attack_success"
#: mean over the periods of net attack success behind the screens
EXPOSURE = "exposure_per_period"
LEFT_OUT = "left out, and counted"
_EXPOSURE = "net attack success behind the screens, mean over all periods (exposure per period)"
_CENSORED = "alive at the end: censored at the last update; not planted: left out, and counted"
_READINGS = {item.reading: item for item in MEASURES if item.reading is not None}
_KEYS = {item.key: item for item in _READINGS.values()}
_OVER = {
    "first": "of the version of the first update",
    "last": "of the version that serves at the end",
    "mean": "mean over the periods from the first update on",
    "erased": "of the version that the backdoor is erased by, of the last where it never is",
}
_COLUMNS = {
    EXPOSURE: "share",
    "updates": "updates",
    "periods": "periods",
    "alarms": "alarms",
    "accuracy": "share",
    "seconds": "seconds",
}


def endpoint_of(spec: EndpointSpec, other: Side) -> Endpoint:
    """Return the endpoint that `spec` asks for; a survival held against a number is a paired difference."""
    if spec.measure == SURVIVAL:
        return _survival(spec, other.value is None)
    if spec.is_event:
        return _event(spec, other)
    if spec.measure == RANK_CORRELATION:
        return Endpoint(spec.measure, "Spearman's rank correlation over settings, within each seed", "rho")
    if "/" in spec.measure:
        return _endpoint_of(spec)
    told = _EXPOSURE if spec.measure == EXPOSURE else f"column `{spec.measure}` of the timelines table"
    return Endpoint(spec.measure, told, _unit(spec.measure), undefined=_undefined(spec))


def _survival(spec: EndpointSpec, compares_arms: bool) -> Endpoint:
    words = (
        f"updates until net attack success stays below {100 * spec.threshold:g} % for two periods in a row, "
        f"counted up to {spec.horizon:g}"
    )
    if compares_arms:
        told = f"restricted mean of the {words}"
        return Endpoint(SURVIVAL, told, "updates", "restricted mean", spec.horizon, _CENSORED)
    return Endpoint(SURVIVAL, f"mean of the {words}, minus the reference", "updates", undefined=_CENSORED)


def _event(spec: EndpointSpec, other: Side) -> Endpoint:
    if spec.measure == ERASED:
        what = (
            f"net attack success stays below {100 * spec.threshold:g} % for two periods in a row, the first of them "
            f"after update {spec.horizon:g} or an earlier one"
        )
    else:
        what = f"{_endpoint_of(spec).definition} is below {spec.below:g}"
    if is_share(spec, other):
        return Endpoint(spec.measure, f"share of seeds in which {what}", "of seeds", "share", None, _undefined(spec))
    return Endpoint(spec.measure, f"whether {what} (1 or 0)", "share", undefined=_undefined(spec))


def _endpoint_of(spec: EndpointSpec) -> Endpoint:
    item = _READINGS.get(spec.measure)
    label = f"`{spec.measure}`" if item is None else f"{item.label} (`{spec.measure}`)"
    given = "" if spec.given is None else "; only timelines whose backdoor had been erased count"
    if spec.over == "trend":
        told = f"Spearman's rank correlation of the {label} with the number of the update, within each seed{given}"
        return Endpoint(spec.measure, told, "rho", undefined=_undefined(spec))
    told = f"{label} {_when(spec)}{given}"
    return Endpoint(spec.measure, told, "number" if item is None else _unit_of(item), undefined=_undefined(spec))


def _when(spec: EndpointSpec) -> str:
    if isinstance(spec.over, tuple):
        return f"mean over the updates {spec.over[0]} to {spec.over[1]}"
    return _OVER.get(str(spec.over), f"of the version that serves after period {spec.over}")


def _undefined(spec: EndpointSpec) -> str:
    """The rule for values that do not exist, in words."""
    if spec.measure == ERASED and spec.undefined is None:
        return f"not planted: left out, and counted; followed for fewer updates, still alive: {LEFT_OUT}"
    if spec.undefined == "against":
        return "counted as the possible value that speaks most against the claim"
    if isinstance(spec.undefined, float):
        return f"counted as {spec.undefined:g}"
    if spec.undefined is None and spec.measure.endswith("trigger_ed50") and "/" in spec.measure:
        return f"above every dose: counted as {FULL_DOSE:g}, a lower bound; without a verdict: {LEFT_OUT}"
    return LEFT_OUT


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
    before = _first_period_read(endpoint, one, other)
    first = _of_setting(one, endpoint, field, seeds, before)
    if other.value is not None:
        return first, _reference(other.value, first)
    return first, _of_setting(other, endpoint, field, seeds, before)


def _first_period_read(endpoint: EndpointSpec, one: Side, other: Side) -> int | None:
    """The first period that either side reads, where both name one: a backdoor has to be erased by then."""
    asked = [endpoint.over if side.over is None else side.over for side in (one, other) if side.setting is not None]
    numbers = [over for over in asked if isinstance(over, int)]
    return min(numbers) if numbers and len(numbers) == len(asked) else None


def _of_setting(
    side: Side, endpoint: EndpointSpec, field: Field, seeds: Sequence[int], before: int | None
) -> SideValues:
    assert side.setting is not None  # the model's own rule
    measure = side.measure or endpoint.measure
    asked = endpoint if side.over is None else endpoint.model_copy(update={"over": side.over})
    values = {seed: _side_value(side.setting, seed, measure, asked, field, before) for seed in seeds}
    return SideValues(side_name(side), (side.setting,), values)


def _side_value(
    setting: str, seed: int, measure: str, endpoint: EndpointSpec, field: Field, before: int | None
) -> Value:
    played = field.at(setting).get(seed)
    if played is not None and (measure in COUNTED or "/" in measure):
        return value_of(played, measure, endpoint, before)
    if measure == EXPOSURE:
        return _exposure_per_period(setting, seed, field)
    return field.column(setting, seed, measure)  # which says so where the seed was not played


def _exposure_per_period(setting: str, seed: int, field: Field) -> Value:
    total, last = field.column(setting, seed, "exposure"), field.column(setting, seed, "last_period")
    if total.number is None or last.number is None:
        return total
    return Value(total.number / (last.number + 1))


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
    if len(settings) < LEAST:
        return Value.undefined(
            f"{len(settings)} of {len(item.settings)} settings have a value in every column, {LEAST} are needed"
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
    over = f"updates {side.over[0]} to {side.over[1]}" if isinstance(side.over, tuple) else side.over
    own = [str(part) for part in (side.measure, over) if part is not None]
    return f"{side.setting} ({', '.join(own)})" if own else str(side.setting)
