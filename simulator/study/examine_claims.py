"""Whether a study's claims can be weighed, found out before any training: settings, seeds, periods and measures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from simulator.errors import ScenarioError
from simulator.scenario.arms import arm_scenario
from simulator.scenario.sentences import near
from simulator.study.claims.left_out import STARTS
from simulator.study.claims.readings import LIVED
from simulator.study.measurable import columns_of, readings_of
from simulator.study.model import SURVIVAL, ClaimSpec, EndpointSpec, Side, Start, Study
from simulator.study.timelines import Timeline

__all__ = ["Settings", "claim_mistakes", "unknown"]

_A_READING, _A_COLUMN = "a reading", "a column of the timelines table"

#: settings by name, each with its timelines
Settings = Mapping[str, Sequence[Timeline]]


class _Compared(NamedTuple):
    """Two sides of one endpoint."""

    endpoint: EndpointSpec
    one: Side
    other: Side


def claim_mistakes(study: Study, settings: Settings) -> Iterator[str]:
    """Yield every mistake in the claims of `study`."""
    for claim in study.claims:
        for where, compared in _comparisons(claim):
            named = [name for side in (compared.one, compared.other) for name in _settings_of(side)]
            strange = [name for name in dict.fromkeys(named) if name not in settings]
            yield from (unknown(where, "a setting", name, settings) for name in strange)
            if not strange:
                yield from _seeds_differ(where, named, settings)
                yield from _too_late(where, compared, settings)
                yield from _unmeasured(where, compared, claim.start, settings)


def _comparisons(claim: ClaimSpec) -> Iterator[tuple[str, _Compared]]:
    yield f"claim '{claim.id}'", _Compared(claim.endpoint, claim.one, claim.other)
    for place, beside in enumerate(claim.beside):
        compared = _Compared(beside.endpoint or claim.endpoint, beside.one, beside.other)
        yield f"claim '{claim.id}', beside.{place}", compared


def _settings_of(side: Side) -> Sequence[str]:
    if side.correlation is not None:
        return side.correlation.settings
    return () if side.setting is None else (side.setting,)


def _seeds_differ(where: str, named: Sequence[str], settings: Settings) -> Iterator[str]:
    first = {timeline.seed for timeline in settings[named[0]]}
    for name in named[1:]:
        mine = {timeline.seed for timeline in settings[name]}
        if mine != first:
            yield (
                f"{where}: expected '{name}' to have the seeds of '{named[0]}', for they are compared by pairs, "
                f"got {_listed(mine)} beside {_listed(first)}; give both the same"
            )


def _too_late(where: str, compared: _Compared, settings: Settings) -> Iterator[str]:
    asked = [("horizon", compared.endpoint.horizon), ("over", compared.endpoint.over)]
    for side in (compared.one, compared.other):
        periods = {name: settings[name][0].scenario.periods for name in _settings_of(side)}
        shortest = min(periods, key=lambda name: periods[name], default="")
        for key, value in dict.fromkeys([*asked, ("over", side.over)]) if periods else ():
            if isinstance(value, int | float) and not 0 <= value <= periods[shortest]:
                yield (
                    f"{where}: expected {key} to be from 0 to the {periods[shortest]} periods of '{shortest}', "
                    f"got {value:g}; lower it, or raise periods"
                )


def _unmeasured(where: str, compared: _Compared, start: Start | None, settings: Settings) -> Iterator[str]:
    """Yield what no timeline of a setting will measure: a wrong name, or a probe that its scenario does not list."""
    told: dict[str, None] = {}
    begun = _starting(start) if compared.one.setting and compared.other.setting else ()
    for side in (compared.one, compared.other):
        for name in _settings_of(side):
            readings, columns = _known(settings[name][0])
            asked = dict.fromkeys((*_read(compared.endpoint, side), *begun), (_A_READING, readings))
            asked |= dict.fromkeys(_tabled(compared.endpoint, side), (_A_COLUMN, columns))
            for measure, (what, known) in asked.items():
                if known and measure not in known:
                    told[_no_such(f"{where}: expected {what} that '{name}' measures", measure, known)] = None
    yield from told


def _known(timeline: Timeline) -> tuple[frozenset[str], frozenset[str]]:
    """The readings and columns of a setting; none where a probe cannot be built, which is told elsewhere."""
    try:
        scenario = arm_scenario(timeline.scenario, timeline.arm)
        return readings_of(scenario), columns_of(scenario, timeline.point)
    except ScenarioError:
        return frozenset(), frozenset()


def _read(endpoint: EndpointSpec, side: Side) -> Sequence[str]:
    """The readings that a side asks for."""
    measure = side.measure or endpoint.measure
    if side.correlation is None and measure == SURVIVAL:
        return (LIVED,)
    return (measure,) if side.correlation is None and "/" in measure else ()


def _tabled(endpoint: EndpointSpec, side: Side) -> Sequence[str]:
    """The columns of the timelines table that a side asks for."""
    if side.correlation is not None:
        return side.correlation.of, side.correlation.with_
    measure = side.measure or endpoint.measure
    return () if measure == SURVIVAL or "/" in measure else (measure,)


def _starting(start: Start | None) -> Sequence[str]:
    if start is None:
        return ()
    return [reading for name, reading in STARTS.items() if getattr(start, name) is not None]


def _no_such(expected: str, measure: str, known: Iterable[str]) -> str:
    return f"{expected}, got '{measure}'; {near(measure, sorted(known), 'list its probe, or correct the name')}"


def unknown(where: str, what: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence about a name that the study does not know."""
    listed = sorted(known)
    some = ", ".join(listed[:5]) + (", ..." if len(listed) > 5 else "")
    return f"{where}: expected {what} of the study, got '{name}'; {near(name, listed, f'it has {some}')}"


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
