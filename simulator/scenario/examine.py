"""Whether a scenario can be run, found out before any work: every plug-in is built, every pair of keys that can clash
is compared, and on request the data are looked at."""

from __future__ import annotations

from typing import Any

from simulator import catalog
from simulator.errors import ScenarioError
from simulator.scenario.arms import arm_scenario
from simulator.scenario.clashes import clashes
from simulator.scenario.model import Scenario
from simulator.scenario.plugins import plugins

__all__ = ["check_scenario"]


def check_scenario(scenario: Scenario, *, data: bool = False) -> None:
    """Raise `ScenarioError` (or one of its kinds) with every mistake in `scenario`, one a line.

    Every arm is looked at as it would be run. `data` also loads the source and divides its rows, which finds out
    whether they suffice and whether trigger, target and network fit them.
    """
    found: dict[str, list[str]] = {}
    for name in scenario.arms:
        for mistake in _of_arm(scenario, name, data):
            found.setdefault(mistake, []).append(name)
    if found:
        raise ScenarioError("\n".join(_in_arms(mistake, arms, scenario) for mistake, arms in found.items()))


def _of_arm(scenario: Scenario, name: str, data: bool) -> list[str]:
    try:
        arm = arm_scenario(scenario, name)
    except ScenarioError as error:
        return str(error).splitlines()
    built, mistakes = _built(arm)
    mistakes = [*mistakes, *clashes(arm, built)]
    return mistakes or (_of_data(arm) if data else [])


def _in_arms(mistake: str, arms: list[str], scenario: Scenario) -> str:
    if len(arms) == len(scenario.arms) or mistake.startswith("arm '"):
        return mistake
    return f"arm '{arms[0]}': {mistake}"


def _built(arm: Scenario) -> tuple[dict[str, Any], list[str]]:
    """Return the plug-ins that could be built, by key, and what is wrong with the others."""
    built: dict[str, Any] = {}
    mistakes: list[str] = []
    for key, kind, use in plugins(arm):
        try:
            built[key] = _build(kind, use.use, use.options)
        except ScenarioError as error:
            mistakes.extend(f"{key}: {line}" for line in str(error).splitlines())
    return built, mistakes


def _build(kind: str, use: str, options: dict[str, Any]) -> Any:
    if kind != "networks":
        return catalog.build(kind, use, options)
    member = catalog.resolve(kind, use)  # built later, when the images' shape is known
    catalog.check_options(f"network '{use}'", member, options)
    return member


def _of_data(arm: Scenario) -> list[str]:
    import torch

    from simulator.world.world import World, load_source

    try:
        World.build(arm, load_source(arm.source), attacked=True, device=torch.device("cpu"))
    except ScenarioError as error:
        return str(error).splitlines()
    return []
