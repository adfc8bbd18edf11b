"""Where a scenario names plug-ins."""

from __future__ import annotations

from simulator.scenario.model import Scenario, Use

__all__ = ["plugins"]


def plugins(scenario: Scenario) -> list[tuple[str, str, Use]]:
    """Return (dotted key, kind, plug-in) for every plug-in that `scenario` names."""
    recipe = scenario.recipe
    phases = {"base": recipe.base, "update": recipe.update}
    return [
        ("source", "sources", scenario.source),
        *((f"drift.{place}", "drifts", use) for place, use in enumerate(scenario.drift)),
        ("attack", "attacks", scenario.attack),
        ("campaign", "campaigns", scenario.campaign),
        ("monitor", "monitors", scenario.monitor),
        ("policy", "policies", scenario.policy),
        ("recipe.network", "networks", recipe.network),
        *((f"recipe.{name}.optimizer", "optimizers", phase.optimizer) for name, phase in phases.items()),
        *((f"recipe.{name}.schedule", "schedules", phase.schedule) for name, phase in phases.items()),
        *((f"defenses.{place}", "defenses", use) for place, use in enumerate(scenario.defenses)),
        ("gate", "gates", scenario.gate),
        *((f"probes.{place}", "probes", use) for place, use in enumerate(scenario.probes)),
    ]
