"""Dotted keys laid over a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.scenario.model import Scenario


def overridden(scenario: Scenario, values: Mapping[str, Any]) -> Scenario:
    """Return the scenario with dotted keys (`stream.batch`) set; relative paths start from the working directory."""
    from simulator.scenario.overrides import validated, with_value
    from simulator.scenario.paths import absolute

    tree = scenario.tree
    for key, value in values.items():
        tree = with_value(tree, key, absolute(value, Path.cwd(), key))
    return validated(tree)
