"""Checks of a study before any training: its names, seeds and scenarios, and whether its claims can be weighed.

A claim may name only settings, seeds, periods and measures that the study's timelines will have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

from simulator.errors import ScenarioError
from simulator.observer.derive import NET
from simulator.observer.observer import ALWAYS
from simulator.observer.survival import THRESHOLDS
from simulator.preflight.clashes import mistakes_of
from simulator.preflight.scenario import check_scenario
from simulator.records import digest_of
from simulator.scenario import catalog
from simulator.scenario.model import Scenario, Use
from simulator.scenario.overrides import arm_scenario
from simulator.scenario.sentences import near
from simulator.study import formula_column
from simulator.study.claims.sides import EXPOSURE, LIVED
from simulator.study.claims.weigh import STARTS
from simulator.study.defended_columns import COLUMNS, FREE
from simulator.study.expand import timelines_of
from simulator.study.model import COUNTED, ERASED, ClaimSpec, EndpointSpec, Side, Start, Study
from simulator.study.ranges import one_sided
from simulator.study.rows import ALARMS, INITIAL, KEYS, LIVES, PLAIN
from simulator.study.timelines import Timeline
from simulator.world.world import load_source

#: settings by name, each with its timelines
Settings = Mapping[str, Sequence[Timeline]]

#: keys of a scenario, and of its recipe, that do not depend on the data
_DECIDING = ("name", "seed", "monitor", "policy", "defenses", "gate", "shadow", "in_process", "oracle")
_TRAINING = ("base", "update", "start", "replay", "augmentation", "precision")
_Sides = tuple[Side, Side]


def check_study(study: Study, *, data: bool = True) -> None:
    """Raise `ScenarioError` with every mistake in `study`, one a line.

    Every distinct scenario is checked once, at its setting's first seed; `data` also loads each source and checks the
    data, once for all scenarios that need the same data.
    """
    settings: dict[str, list[Timeline]] = {}
    for timeline in timelines_of(study):
        settings.setdefault(timeline.setting, []).append(timeline)
    mistakes = [*_seeds(study, settings), *_quick(study, settings), *claim_mistakes(study, settings)]
    mistakes += _arrivals(settings)
    found = _scenarios(settings, data)
    mistakes += [_in_settings(mistake, names, settings) for mistake, names in found.items()]
    if mistakes:
        raise ScenarioError("\n".join(mistakes))


def _seeds(study: Study, settings: Settings) -> Iterator[str]:
    arms = {timelines[0].arm for timelines in settings.values()}
    for key, named in (("arm_seeds", study.arm_seeds), ("arm_periods", study.arm_periods)):
        yield from (unknown(key, "an arm", arm, arms) for arm in named if arm not in arms)
    for key, seeds in {"seeds": study.seeds, **{f"arm_seeds.{arm}": s for arm, s in study.arm_seeds.items()}}.items():
        for seed in sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            yield f"expected {key} to differ, got {seed} twice; remove one"


def _quick(study: Study, settings: Settings) -> Iterator[str]:
    if study.quick is None:
        return
    for name in study.quick.settings or ():
        if name not in settings:
            yield unknown("quick.settings", "a setting", name, settings)
    played = {timeline.seed for timelines in settings.values() for timeline in timelines}
    for seed in study.quick.seeds:
        if seed not in played:
            yield f"expected quick.seeds to be among the study's seeds, got {seed}; add it to seeds, or leave it out"
    names = settings if study.quick.settings is None else study.quick.settings
    if not any(timeline.seed in study.quick.seeds for name in names for timeline in settings.get(name, ())):
        yield "expected quick to leave some timeline, got none; name a seed that its settings have"


def _arrivals(settings: Settings) -> Iterator[str]:
    if any(timelines[0].scenario.stream.arrivals is not None for timelines in settings.values()):
        yield (
            "expected a study's scenario without stream.arrivals, got a drop folder, whose files become one run's "
            "periods; use the source npz on them"
        )


def _scenarios(settings: Settings, data: bool) -> dict[str, list[str]]:
    """Return each mistake of a scenario with the settings that make it."""
    found = _each_once(settings, lambda one: {**one.scenario.tree, "seed": None}, check_scenario)
    if found or not data:
        return found
    load = cache(lambda text: load_source(Use.model_validate_json(text)))
    return _each_once(
        settings,
        _data_keys,
        lambda scenario: check_scenario(scenario, data=True, load=lambda use: load(use.model_dump_json())),
    )


def _each_once(
    settings: Settings, key: Callable[[Timeline], Any], check: Callable[[Scenario], None]
) -> dict[str, list[str]]:
    known: dict[str, list[str]] = {}
    found: dict[str, list[str]] = {}
    for name, timelines in settings.items():
        digest = digest_of(key(timelines[0]))
        if digest not in known:
            known[digest] = mistakes_of(partial(check, timelines[0].scenario))
        for mistake in known[digest]:
            found.setdefault(mistake, []).append(name)
    return found


def _data_keys(timeline: Timeline) -> dict[str, Any]:
    """The keys of a scenario that decide whether its data suffice and fit."""
    tree = arm_scenario(timeline.scenario, timeline.arm).tree
    recipe = {key: value for key, value in tree["recipe"].items() if key not in _TRAINING}
    return {key: value for key, value in tree.items() if key not in _DECIDING} | {"recipe": recipe}


def _in_settings(mistake: str, names: Sequence[str], settings: Settings) -> str:
    if len(names) == len(settings) or mistake.startswith("arm '"):
        return mistake
    others = f" and {len(names) - 1} others" if len(names) > 1 else ""
    return f"setting '{names[0]}'{others}: {mistake}"


def claim_mistakes(study: Study, settings: Settings) -> Iterator[str]:
    """Yield every mistake in the claims of `study`."""
    for claim in study.claims:
        for where, endpoint, sides in _comparisons(claim):
            named = [name for side in sides for name in _settings_of(side)]
            missing = [name for name in dict.fromkeys(named) if name not in settings]
            yield from (unknown(where, "a setting", name, settings) for name in missing)
            if not missing:
                yield from _seeds_differ(where, named, settings)
                yield from _too_late(where, endpoint, sides, settings)
                yield from _unmeasured(where, endpoint, sides, claim.start, settings)
        if all(name in settings for side in (claim.one, claim.other) for name in _settings_of(side)):
            yield from one_sided(f"claim '{claim.id}'", claim, settings)


def _comparisons(claim: ClaimSpec) -> Iterator[tuple[str, EndpointSpec, _Sides]]:
    yield f"claim '{claim.id}'", claim.endpoint, (claim.one, claim.other)
    for index, beside in enumerate(claim.beside):
        yield f"claim '{claim.id}', beside.{index}", beside.endpoint or claim.endpoint, (beside.one, beside.other)


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


def _too_late(where: str, endpoint: EndpointSpec, sides: _Sides, settings: Settings) -> Iterator[str]:
    # that a backdoor is erased by an update is seen one update later
    horizon = None if endpoint.horizon is None else endpoint.horizon + (endpoint.measure == ERASED)
    asked = [("horizon", horizon), *(("over", over) for over in _numbers_in(endpoint.over))]
    for side in sides:
        periods = {name: settings[name][0].scenario.periods for name in _settings_of(side)}
        shortest = min(periods, key=lambda name: periods[name], default="")
        for key, value in dict.fromkeys([*asked, *(("over", o) for o in _numbers_in(side.over))]) if periods else ():
            if isinstance(value, int | float) and not 0 <= value <= periods[shortest]:
                yield (
                    f"{where}: expected {key} to be from 0 to the {periods[shortest]} periods of '{shortest}', "
                    f"got {value:g}; lower it, or raise periods"
                )


def _numbers_in(over: object) -> Sequence[object]:
    return over if isinstance(over, tuple) else (over,)


def _unmeasured(
    where: str, endpoint: EndpointSpec, sides: _Sides, start: Start | None, settings: Settings
) -> Iterator[str]:
    """Yield what no timeline of a setting will measure: a wrong name, or a probe that its scenario does not list."""
    mistakes: dict[str, None] = {}
    both = all(side.setting for side in sides)
    begun = [reading for name, reading in STARTS.items() if both and getattr(start, name, None) is not None]
    for side in sides:
        read, tabled = _asked(endpoint, side)
        for name in _settings_of(side):
            readings, columns = _known(settings[name][0])
            asked = dict.fromkeys((*read, *begun), ("a reading", readings))
            asked |= dict.fromkeys(tabled, ("a column of the timelines table", columns))
            for measure, (what, known) in asked.items():
                if known and measure not in known:
                    hint = near(measure, sorted(known), "list its probe, or correct the name")
                    mistakes[f"{where}: expected {what} that '{name}' measures, got '{measure}'; {hint}"] = None
    yield from mistakes


def _known(timeline: Timeline) -> tuple[frozenset[str], frozenset[str]]:
    """The readings and columns of a setting; none where a probe cannot be built, which another check reports."""
    try:
        scenario = arm_scenario(timeline.scenario, timeline.arm)
        return readings_of(scenario), columns_of(scenario, timeline.point)
    except ScenarioError:
        return frozenset(), frozenset()


def _asked(endpoint: EndpointSpec, side: Side) -> tuple[Sequence[str], Sequence[str]]:
    """The readings, and the columns of the timelines table, that a side asks for."""
    if side.correlation is not None:
        return (), (side.correlation.of, side.correlation.with_)
    measure = side.measure or endpoint.measure
    if measure in COUNTED:
        return (LIVED,), ()
    if measure == EXPOSURE:
        return (), ("exposure",)
    return ((measure,), ()) if "/" in measure else ((), (measure,))


def readings_of(scenario: Scenario) -> frozenset[str]:
    """Return the names of the readings that the probes of `scenario`, an arm's own, give its versions."""
    probes = (catalog.build("probes", use.use, use.options) for use in (*ALWAYS, *scenario.probes))
    given = {name for probe in probes for name in probe.gives}
    net = {name for name, raw in NET.items() if raw in given and "paced" in scenario.twins}
    return frozenset(given | net)


def columns_of(scenario: Scenario, point: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the columns of the timelines table that can hold a number for `scenario` at `point`.

    Those that are null in all of its timelines are left out: nothing measures them.
    """
    watched = ("undrifted_periods",) if scenario.monitor.use == "none" else ALARMS
    keys = {KEYS.get(name, name) for name in readings_of(scenario)}
    return frozenset(PLAIN).union(
        (f"{name}_{threshold}" for name in LIVES for threshold in THRESHOLDS),
        ("seconds", *formula_column.COLUMNS, *watched),
        (key for key, value in point.items() if isinstance(value, int | float)),
        (f"free_{name}" for name in watched if "free" in scenario.twins),
        (name for name in COLUMNS if scenario.defenses),
        (f"free_{name}" for name in FREE if scenario.defenses and "free" in scenario.twins),
        (f"final_{key}" for key in keys),
        (f"initial_{key}" for key in INITIAL if key in keys),
    )


def unknown(where: str, what: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence about a name that the study does not know."""
    listed = sorted(known)
    some = ", ".join(listed[:5]) + (", ..." if len(listed) > 5 else "")
    return f"{where}: expected {what} of the study, got '{name}'; {near(name, listed, f'it has {some}')}"


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
