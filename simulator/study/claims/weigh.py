"""From two sides to a finding: who is left out and why, then the comparison that the endpoint asks for."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.study.claims.endpoints import endpoint_of
from simulator.study.claims.field import Field
from simulator.study.claims.left_out import left_out
from simulator.study.claims.notes import notes_on
from simulator.study.claims.sides import both_sides
from simulator.study.claims.values import SideValues, Value, Weighed
from simulator.study.model import SURVIVAL, ClaimSpec, Comparison, EndpointSpec, Side, Start
from simulator.study.statistics.lifetimes import Lifetime
from simulator.study.statistics.signflip import METHOD
from simulator.study.statistics.values import Claim, Effects, Finding, Interval
from simulator.study.statistics.weigh import compare_lifetimes, compare_values

__all__ = ["weigh_beside", "weigh_claim"]


def weigh_claim(spec: ClaimSpec, field: Field, level: float) -> Weighed:
    """Return what `field` says of the claim; intervals have the confidence `level`, or the most that there is."""
    claim = Claim(spec.id, spec.sentence, endpoint_of(spec.endpoint, spec.other), spec.direction, spec.gate)
    return _weigh(claim, spec.endpoint, (spec.one, spec.other), spec.start, field, level)


def weigh_beside(spec: ClaimSpec, comparison: Comparison, field: Field, level: float) -> Weighed:
    """Return a comparison beside a claim, from the claim's equal starts where both of its sides are settings."""
    endpoint = comparison.endpoint or spec.endpoint
    words = comparison.note or f"beside {spec.id}"
    claim = Claim(f"{spec.id}-beside", words, endpoint_of(endpoint, comparison.other), spec.direction)
    settings = comparison.one.setting is not None and comparison.other.setting is not None
    start = spec.start if settings else None
    return _weigh(claim, endpoint, (comparison.one, comparison.other), start, field, level)


def _weigh(
    claim: Claim, endpoint: EndpointSpec, sides: tuple[Side, Side], start: Start | None, field: Field, level: float
) -> Weighed:
    one, other = both_sides(*sides, endpoint, field)
    out = left_out(one, other, sides, start, field)
    missing = _unplayed(one, other, field)
    finding = missing and _without(claim, out, missing)
    finding = finding or _compare(claim, endpoint, _kept(one, out), _kept(other, out), level)
    return Weighed(finding, one, other, out, notes_on(endpoint, one, other, out, sides, field))


def _unplayed(one: SideValues, other: SideValues, field: Field) -> str | None:
    """Say which setting nobody played, as in a quick run; a correlation goes on without some of its settings."""
    for side in (one, other):
        missing = [setting for setting in side.settings if not field.at(setting)]
        if missing and len(missing) == len(side.settings):
            return f"{' and '.join(missing)} was not played"
    return None


def _kept(side: SideValues, out: Mapping[int, str]) -> dict[int, Value | None]:
    return {seed: None if seed in out else value for seed, value in side.by_seed.items()}


def _compare(
    claim: Claim,
    endpoint: EndpointSpec,
    one: Mapping[int, Value | None],
    other: Mapping[int, Value | None],
    level: float,
) -> Finding:
    out = [seed for seed, value in one.items() if value is None]
    try:
        if endpoint.measure != SURVIVAL:
            return compare_values(claim, _numbers(one), _numbers(other), level)
        if claim.endpoint.kind == "restricted mean":
            return compare_lifetimes(claim, _lifetimes(one), _lifetimes(other), level)
        assert endpoint.horizon is not None  # the model's own rule
        if lost := _lost(one, endpoint.horizon):
            why = f"{lost} of the timelines ended before update {endpoint.horizon:g}, the backdoor alive"
            return _without(claim, out, why)
        return compare_values(claim, _restricted(one, endpoint.horizon), _numbers(other), level)
    except ValueError as error:  # more pairs than the exact test can weigh
        return _without(claim, out, str(error))


def _numbers(values: Mapping[int, Value | None]) -> dict[int, float | None]:
    return {seed: None if value is None else value.number for seed, value in values.items()}


def _restricted(values: Mapping[int, Value | None], horizon: float) -> dict[int, float | None]:
    return {seed: None if number is None else min(number, horizon) for seed, number in _numbers(values).items()}


def _lifetimes(values: Mapping[int, Value | None]) -> dict[int, Lifetime | None]:
    return {
        seed: None if value is None or value.number is None else Lifetime(value.number, value.ended)
        for seed, value in values.items()
    }


def _lost(values: Mapping[int, Value | None], horizon: float) -> int:
    lives = [life for life in _lifetimes(values).values() if life is not None]
    return sum(not life.known_until(horizon) for life in lives)


def _without(claim: Claim, out: Mapping[int, str] | list[int], reason: str) -> Finding:
    """A claim that the timelines cannot weigh; it counts in the correction all the same."""
    interval = Interval(None, None, None, METHOD, reason)
    return Finding(claim, None, interval, None, None, Effects(None, None, None, reason), 0, tuple(out), reason)
