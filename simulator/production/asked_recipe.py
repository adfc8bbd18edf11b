"""The recipe of one update that a defense asked for: checked against the scenario's own before it is granted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from simulator.errors import ScenarioError
from simulator.production.defending.texts import short
from simulator.scenario import catalog
from simulator.scenario.model import Phase, Recipe, Replay, Scenario, Use

#: keys of a phase that may differ in one update, beside `replay`
_OF_A_PHASE: Final = ("epochs", "batch", "schedule", "optimizer")


def recipe_of_update(scenario: Scenario, asked: Mapping[str, Any]) -> Recipe:
    """Return the scenario's recipe with what is `asked` for its update, or raise `ScenarioError`.

    A plug-in of a stranger's is allowed where the scenario names it itself: no other code is imported on request.
    """
    unknown = sorted(asked.keys() - {*_OF_A_PHASE, "replay"})
    if unknown:
        raise ScenarioError(f"expected any of {', '.join(_OF_A_PHASE)} and replay, got '{short(unknown[0])}'")
    recipe = scenario.recipe
    replay = asked.get("replay", {})
    if not isinstance(replay, Mapping) or replay.keys() - {"share"}:
        raise ScenarioError("expected replay to be a mapping with share alone, got something else")
    own = {name: value for name, value in asked.items() if name in _OF_A_PHASE}
    try:
        phase = Phase.model_validate(recipe.update.model_dump(mode="json") | own)
        changed = Replay.model_validate(recipe.replay.model_dump(mode="json") | dict(replay))
    except ValidationError as error:
        first = error.errors()[0]
        raise ScenarioError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if phase.batch > scenario.stream.batch:
        raise ScenarioError(f"expected batch to be at most stream.batch ({scenario.stream.batch}), got {phase.batch}")
    _expect_known("schedules", phase.schedule, recipe.update.schedule)
    _expect_known("optimizers", phase.optimizer, recipe.update.optimizer)
    return recipe.model_copy(update={"update": phase, "replay": changed})


def _expect_known(kind: str, use: Use, own: Use) -> None:
    if use.use != own.use and (":" in use.use or catalog.is_third_party(kind, use.use)):
        raise ScenarioError(f"expected one of ebbdoor's {kind} or the scenario's own, got '{short(use.use)}'")
    catalog.build(kind, use.use, use.options)
