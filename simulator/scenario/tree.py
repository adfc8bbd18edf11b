"""From JSON values to a frozen scenario."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from simulator.errors import ScenarioError
from simulator.scenario.merge import lay_over
from simulator.scenario.model import Scenario
from simulator.scenario.sentences import sentences

__all__ = ["over_defaults", "scenario_of", "tree_of", "validated"]


def scenario_of(values: Mapping[str, Any]) -> Scenario:
    """Return the scenario that the JSON values `values` describe; what they leave out keeps its default."""
    return validated(over_defaults(values))


def tree_of(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as JSON values, under the keys a user writes."""
    return scenario.model_dump(mode="json", by_alias=True)


def over_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` laid over the default scenario; the arms are replaced whole."""
    laid: dict[str, Any] = lay_over(tree_of(Scenario()), values)
    return {**laid, "arms": values["arms"]} if "arms" in values else laid


def validated(tree: Mapping[str, Any]) -> Scenario:
    """Return the scenario of a whole tree, or raise `ScenarioError` naming every mistake, one a line."""
    try:
        # As JSON, because strictness then means: no text for a number, but a list for a tuple.
        return Scenario.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        raise ScenarioError("\n".join(sentences(error, tree, Scenario))) from None
