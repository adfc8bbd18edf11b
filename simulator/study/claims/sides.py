"""The sides of a comparison, seed by seed: settings, references, and rank correlations within each seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from simulator.study.claims.field import Field
from simulator.study.claims.readings import value_of
from simulator.study.claims.values import SideValues, Value
from simulator.study.model import RANK_CORRELATION, SURVIVAL, Correlation, EndpointSpec, Side

__all__ = ["both_sides", "shared_settings", "side_name"]

_LEAST = 3


def both_sides(one: Side, other: Side, endpoint: EndpointSpec, field: Field) -> tuple[SideValues, SideValues]:
    """Return both sides, each with a value or a reason at the seeds of either."""
    if endpoint.measure == RANK_CORRELATION:
        return _correlations(one, other, field)
    first = _of_setting(one, endpoint, field)
    if other.value is not None:
        return first, _reference(other.value, first)
    second = _of_setting(other, endpoint, field)
    seeds = sorted(first.by_seed.keys() | second.by_seed.keys())
    return _at(first, seeds), _at(second, seeds)


def _of_setting(side: Side, endpoint: EndpointSpec, field: Field) -> SideValues:
    assert side.setting is not None  # the model's own rule
    measure = side.measure or endpoint.measure
    asked = endpoint if side.over is None else endpoint.model_copy(update={"over": side.over})
    values = {seed: _value(side.setting, seed, measure, asked, field) for seed in sorted(field.at(side.setting))}
    return SideValues(side_name(side), (side.setting,), values)


def _value(setting: str, seed: int, measure: str, endpoint: EndpointSpec, field: Field) -> Value:
    if measure == SURVIVAL or "/" in measure:
        return value_of(field.at(setting)[seed], measure, endpoint)
    return field.column(setting, seed, measure)


def _reference(value: float, measured: SideValues) -> SideValues:
    return SideValues(side_name(Side(value=value)), (), dict.fromkeys(measured.by_seed, Value(value)))


def _at(side: SideValues, seeds: Sequence[int]) -> SideValues:
    missing = Value.undefined("not played")
    return SideValues(side.name, side.settings, {seed: side.by_seed.get(seed, missing) for seed in seeds})


def _correlations(one: Side, other: Side, field: Field) -> tuple[SideValues, SideValues]:
    """Both correlations are taken over the settings for which all their columns are known: else they could differ."""
    asked = [side.correlation for side in (one, other) if side.correlation is not None]
    settings = tuple(dict.fromkeys(setting for item in asked for setting in item.settings))
    seeds = sorted({seed for setting in settings for seed in field.at(setting)})
    found: list[SideValues] = []
    for item in asked:
        values = {seed: _rho(item, shared_settings(asked, field, seed), field, seed) for seed in seeds}
        found.append(SideValues(side_name(Side(correlation=item)), item.settings, values))
    return found[0], found[1] if len(found) > 1 else _reference(other.value or 0.0, found[0])


def shared_settings(asked: Sequence[Correlation], field: Field, seed: int) -> frozenset[str]:
    """Return the settings that none of the correlations `asked` has to leave out at `seed`."""
    out: set[str] = set()
    for item in asked:
        for setting in item.settings:
            if any(field.column(setting, seed, name).number is None for name in (item.of, item.with_)):
                out.add(setting)
    return frozenset(setting for item in asked for setting in item.settings) - out


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
