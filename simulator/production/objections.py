"""What stands against a request of a defense, in a sentence; and on which occasion it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulator.errors import ScenarioError
from simulator.production.asked_recipe import recipe_of_update
from simulator.production.state import PlatformState
from simulator.production.update import Window
from simulator.records import Asked, Outcome
from simulator.scenario.model import DefenseUse, Scenario, Use


@dataclass(frozen=True, slots=True)
class Occasion:
    """When defenses are asked, and what they may ask for then.

    A `stage` that is repeated replaces what was granted before. `judged`: a candidate or challenger is judged in this
    period. `at_hand` are the versions that can serve again. `origin` int64 (N, 2): period
    and position of each row of the window that is shown (none: (0, 2)), `labels` int64 (N,) its labels.
    """

    stage: str
    period: int
    judged: bool
    champion: int | None
    at_hand: frozenset[int]
    origin: Tensor
    labels: Tensor


def occasion_of(
    stage: str,
    period: int,
    state: PlatformState,
    at_hand: frozenset[int],
    window: Window | None,
    *,
    judged: bool,
) -> Occasion:
    """Return the occasion of a stage in which what is left of `window` is shown."""
    origin, labels = torch.empty((0, 2), dtype=torch.long), torch.empty(0, dtype=torch.long)
    if window is not None:
        origin, labels = window.origin[window.keep], window.rows.labels.cpu()
    return Occasion(stage, period, judged, state.champion, at_hand, origin, labels)


@dataclass(frozen=True, slots=True)
class Standing:
    """What was decided before: `served` versions, those `left` by a roll-back, and requests of this period.

    `recipe` is that of the retraining that is due.
    """

    served: frozenset[int]
    left: frozenset[int]
    granted: Sequence[Asked]
    recipe: dict[str, object]


def not_allowed(use: Use, asked: Asked, outcome: Outcome, *, follows: bool) -> str | None:
    """Return what stands against any request of that kind by this defense; None: nothing does.

    `follows`: the lineage replays the decisions of its arm.
    """
    may = use.may if isinstance(use, DefenseUse) else ()
    if outcome.status == "failed":
        return "its result was not used"
    if not may:
        return f"the scenario grants it nothing; add may: [{asked.kind}]"
    if asked.kind not in may:
        return f"the scenario grants it {', '.join(may)}; add {asked.kind} to its may"
    if follows and asked.kind != "purge":
        return "this twin replays the decisions of its arm"
    return None


def no_roll_back(asked: Asked, occasion: Occasion, standing: Standing) -> str | None:
    """Return what stands against a roll-back; versions are named by their ordinals."""
    to = asked.to
    others = {one.to for one in standing.granted if one.kind == "roll-back"} - {to}
    if to == occasion.champion:
        return f"ordinal {to} serves already"
    if to not in standing.served:
        return f"ordinal {to} has never served"
    if to in standing.left:
        return f"ordinal {to} was rolled back from"
    if to not in occasion.at_hand:
        return f"ordinal {to} is not at hand: the nearest ancestors of the champion are, and what versions_back reaches"
    if others:
        return f"a roll-back to ordinal {others.pop()} is granted already"
    return None


def no_hold(occasion: Occasion) -> str | None:
    """Return what stands against holding what is judged."""
    if occasion.champion is None:
        return "the first version serves whatever the verdict"
    return None if occasion.judged else "no candidate and no challenger is judged in this period"


def no_retraining(asked: Asked, occasion: Occasion, standing: Standing, scenario: Scenario) -> str | None:
    """Return what stands against a retraining in the next period."""
    if occasion.period >= scenario.periods:
        return "no period is left to retrain in"
    try:
        recipe_of_update(scenario, asked.recipe)
    except ScenarioError as error:
        return f"its recipe does not fit: {' '.join(str(error).split())}"
    due = [standing.recipe, *(one.recipe for one in standing.granted if one.kind == "retrain")]
    if asked.recipe and any(other and other != asked.recipe for other in due):
        return "a retraining with another recipe is due already"
    return None


def no_purge(asked: Asked, occasion: Occasion, gone: Tensor, keep: Tensor | None) -> str | None:
    """Return what stands against a purge of the rows `gone` bool (N,); `keep` are those that filters leave, or None."""
    ahead = [period for period in asked.periods if period > occasion.period]
    if ahead:
        return f"period {ahead[0]} has not come yet"
    if keep is None:
        return None
    left = keep & ~gone
    if int(left.sum()) < 2:
        return "it would leave fewer than two rows to train on"
    emptied = sorted(set(occasion.labels[keep].tolist()) - set(occasion.labels[left].tolist()))
    return f"it would leave no row of class {emptied[0]} to train on" if emptied else None


def named(asked: Asked, mask: Tensor | None, occasion: Occasion) -> Tensor:
    """Return which rows of the window a purge names, bool (N,)."""
    found = torch.isin(occasion.origin[:, 0], torch.tensor(asked.periods, dtype=torch.long))
    return found if mask is None else found | mask
