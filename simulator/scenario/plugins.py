"""The plug-ins that a scenario names, and the options that they get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import to_jsonable_python

from simulator.scenario.catalog import options, resolve, torchvision_names
from simulator.scenario.model import Scenario, Use
from simulator.scenario.overrides import with_value


def plugins(scenario: Scenario) -> list[tuple[str, str, Use]]:
    """Return (dotted key, kind, plug-in) for every plug-in that `scenario` names."""
    recipe = scenario.recipe
    phases = {"base": recipe.base, "update": recipe.update}
    return [
        ("source", "sources", scenario.source),
        *((f"drift.{index}", "drifts", use) for index, use in enumerate(scenario.drift)),
        ("attack", "attacks", scenario.attack),
        ("campaign", "campaigns", scenario.campaign),
        ("monitor", "monitors", scenario.monitor),
        ("policy", "policies", scenario.policy),
        ("recipe.network", "networks", recipe.network),
        *((f"recipe.{name}.optimizer", "optimizers", phase.optimizer) for name, phase in phases.items()),
        *((f"recipe.{name}.schedule", "schedules", phase.schedule) for name, phase in phases.items()),
        *((f"defenses.{index}", "defenses", use) for index, use in enumerate(scenario.defenses)),
        ("gate", "gates", scenario.gate),
        *((f"probes.{index}", "probes", use) for index, use in enumerate(scenario.probes)),
    ]


def own_defaults(kind: str, use: Use) -> dict[str, Any]:
    """Return the default options of a plug-in, which is imported in this process."""
    known = options(resolve(kind, use.use))
    return {name: default for name, (_, default) in known.items() if default is not ...}


def resolved(scenario: Scenario, defaults: Callable[[str, Use], Mapping[str, Any]] = own_defaults) -> dict[str, Any]:
    """Return the scenario as JSON values after defaults, those of the plug-ins' own options included."""
    tree = scenario.tree
    for key, kind, use in plugins(scenario):
        if kind == "networks" and use.use in torchvision_names(use.use):
            continue
        filled = {**use.model_dump(mode="json"), **to_jsonable_python({**defaults(kind, use), **use.options})}
        tree = with_value(tree, key, filled)
    return tree
