"""Whether a study can be played, found out before any training: its names, seeds and horizons, and every scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from simulator.errors import ScenarioError
from simulator.records import digest_of
from simulator.scenario.arms import arm_scenario
from simulator.scenario.examine import check_scenario
from simulator.scenario.model import Scenario, Use
from simulator.scenario.tree import tree_of
from simulator.study.examine_claims import Settings, claim_mistakes, unknown
from simulator.study.expand import timelines_of
from simulator.study.model import Study
from simulator.study.timelines import Timeline
from simulator.world.world import load_source

__all__ = ["check_study"]

#: keys of a scenario, and of its recipe, that ask nothing of the data
_DECIDING = ("name", "seed", "monitor", "policy", "defenses", "gate", "shadow", "in_process", "oracle")
_TRAINING = ("base", "update", "start", "replay", "augmentation", "precision")


def check_study(study: Study, *, data: bool = True) -> None:
    """Raise `ScenarioError` with every mistake in `study`, one a line.

    Every distinct scenario is looked at once, at its setting's first seed; `data` also loads each source and looks at
    the data once for all scenarios that ask for the same.
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
    for arm in study.arm_seeds:
        if arm not in arms:
            yield unknown("arm_seeds", "an arm", arm, arms)
    for place, seeds in {"seeds": study.seeds, **{f"arm_seeds.{arm}": s for arm, s in study.arm_seeds.items()}}.items():
        for seed in sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            yield f"expected {place} to differ, got {seed} twice; remove one"


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
    found = _each_once(settings, lambda one: one.scenario.model_dump(mode="json", exclude={"seed"}), check_scenario)
    if found or not data:
        return found
    load = cache(lambda text: load_source(Use.model_validate_json(text)))
    return _each_once(
        settings,
        _asked_of_the_data,
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
            known[digest] = _mistakes(check, timelines[0].scenario)
        for mistake in known[digest]:
            found.setdefault(mistake, []).append(name)
    return found


def _mistakes(check: Callable[[Scenario], None], scenario: Scenario) -> list[str]:
    try:
        check(scenario)
    except ScenarioError as error:
        return str(error).splitlines()
    return []


def _asked_of_the_data(timeline: Timeline) -> dict[str, Any]:
    """The keys of a scenario that decide whether its data suffice and fit."""
    tree = tree_of(arm_scenario(timeline.scenario, timeline.arm))
    recipe = {key: value for key, value in tree["recipe"].items() if key not in _TRAINING}
    return {key: value for key, value in tree.items() if key not in _DECIDING} | {"recipe": recipe}


def _in_settings(mistake: str, names: Sequence[str], settings: Settings) -> str:
    if len(names) == len(settings) or mistake.startswith("arm '"):
        return mistake
    others = f" and {len(names) - 1} others" if len(names) > 1 else ""
    return f"setting '{names[0]}'{others}: {mistake}"
