"""Checks of a scenario before any work: every plug-in is built, and keys that can contradict each other are compared.

On request the data are checked too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from simulator.errors import PluginError, ScenarioError
from simulator.preflight.clashes import clashes, mistakes_of
from simulator.production.defending.examine import examine_all, examined
from simulator.production.training.checkpoints import load_checkpoint, read_checkpoint
from simulator.production.training.modes import training_modes
from simulator.production.training.networks import OF_EVERY_NETWORK, build_network
from simulator.scenario import catalog
from simulator.scenario.catalog import torchvision_names
from simulator.scenario.model import Scenario, Use
from simulator.scenario.overrides import arm_scenario
from simulator.scenario.plugins import plugins
from simulator.world.arrivals.admit import check_arrivals
from simulator.world.class_options import with_positions
from simulator.world.sources.base import SourceData
from simulator.world.world import World, load_source

#: stands for the facts about images that a network gets, where only its own options are checked
_IMAGES: dict[str, Any] = {"channels": 1, "size": [28, 28], "classes": 10}


def check_scenario(scenario: Scenario, *, data: bool = False, load: Callable[[Use], SourceData] = load_source) -> None:
    """Raise `ScenarioError` (or one of its kinds) with every mistake in `scenario`, one a line.

    Every arm is checked as it would be run. `data` also loads the source, divides its rows and makes the network:
    whether the rows suffice, also those of the re-learning draws, and whether trigger, target, network, frozen layers
    and checkpoint fit. `load` may know the source already.
    """
    found: dict[str, list[str]] = {}
    _examine_defenses(scenario)
    for name in scenario.arms:
        for mistake in _of_arm(scenario, name):
            found.setdefault(mistake, []).append(name)
    if data and not found:
        source = load(scenario.source)
        for name in scenario.arms:
            for mistake in mistakes_of(partial(_check_data, arm_scenario(scenario, name), source)):
                found.setdefault(mistake, []).append(name)
    if found:
        raise ScenarioError("\n".join(_in_arms(mistake, arms, scenario) for mistake, arms in found.items()))


def _of_arm(scenario: Scenario, name: str) -> list[str]:
    try:
        arm = arm_scenario(scenario, name)
    except ScenarioError as error:
        return str(error).splitlines()
    built, mistakes = _built(arm)
    return [*mistakes, *clashes(arm, built)]


def _in_arms(mistake: str, arms: list[str], scenario: Scenario) -> str:
    if len(arms) == len(scenario.arms) or mistake.startswith("arm '"):
        return mistake
    return f"arm '{arms[0]}': {mistake}"


def _built(arm: Scenario) -> tuple[dict[str, Any], list[str]]:
    """Return the plug-ins that could be built, by key, and what is wrong with the others; of defenses their facts."""
    built: dict[str, Any] = {}
    mistakes: list[str] = []
    for key, kind, use in plugins(arm):
        try:
            if kind == "defenses":
                built[key] = examined(use, in_process=arm.in_process)
                continue
            named = with_positions(key, use, None) if kind in ("attacks", "drifts") else use
            built[key] = _build(kind, named.use, named.options)
        except ScenarioError as error:
            lines = str(error).splitlines()
            mistakes.extend(lines if key in catalog.KINDS.values() else [f"{key}: {line}" for line in lines])
    return built, mistakes


def _examine_defenses(scenario: Scenario) -> None:
    """Ask for the facts of the defenses of all arms at once, as far as the arms can be read."""
    if not scenario.in_process:
        arms = []
        for name in scenario.arms:
            with suppress(ScenarioError):
                arms.append(arm_scenario(scenario, name))
        examine_all(use for arm in arms for use in arm.defenses)


def _build(kind: str, use: str, options: dict[str, Any]) -> Any:
    if kind != "networks":
        return catalog.build(kind, use, options)
    # A network is built when the images are known; here its name is looked up and its options are compared.
    if use in torchvision_names(use):
        return None
    member = catalog.resolve(kind, use, also=torchvision_names(use))
    for name in _IMAGES.keys() & options:
        raise PluginError(f"network '{use}': expected '{name}' to come from the source, got it set; remove it")
    facts = {name: value for name, value in _IMAGES.items() if name in catalog.options(member)}
    own = {
        name: value for name, value in options.items() if name not in OF_EVERY_NETWORK
    }  # the platform's, for every network
    return catalog.check_options(f"network '{use}'", member, {**facts, **own})


def _check_data(arm: Scenario, source: SourceData) -> None:
    channels, height, width = source.shape
    check_arrivals(arm, source)
    world = World.build(arm, source, attacked=True, device=torch.device("cpu"))
    _draw_for_relearning(arm, world)
    facts: dict[str, Any] = {"channels": channels, "size": (height, width), "classes": source.classes}
    network = build_network(arm.recipe.network, **facts, seed=0)
    with training_modes(network, arm.recipe, update=True):
        pass
    if arm.base is not None:
        load_checkpoint(network, read_checkpoint(arm.base.from_))


def _draw_for_relearning(arm: Scenario, world: World) -> None:
    """Make every draw that a re-learning probe will ask for at its first milestone, after much training.

    With the unrelated trigger, which is put on the same rows and for which no surrogate is trained.
    """
    if not world.has_attack:
        return
    for use in arm.probes:
        draws, poisoned = catalog.build("probes", use.use, use.options).relearns or (0, 0)
        for draw in range(draws):
            world.relearning(0, draw, poisoned, unrelated=True)
