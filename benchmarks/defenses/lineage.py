"""A clean base, clean updates of it, and a last update with or without poison: for defenses that look back."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import torch
from torch import nn

from benchmarks.defenses.lab import Lab, Sizes, batch_of, predicted, rows
from benchmarks.defenses.past import Past, Version, history
from defenses.base import Defense, DoesNotApply, State
from simulator.batch import Batch
from simulator.production.training.fit import fit
from simulator.scenario.model import Recipe
from simulator.seeds import generator, seed_for
from simulator.world.attacks.base import POISON
from simulator.world.sources.base import SourceData

#: clean updates before the last one
UPDATES: Final = 6
#: share of the last update's rows that is poison: an attacker who has one update to teach his backdoor in
LAST_RATE: Final = 0.2
#: rows a step of an update
_BATCH: Final = 32


def looks_back(defense: Defense) -> bool:
    """Whether a platform hands this defense what it remembers of earlier periods."""
    return defense.remembers or defense.versions_back > 0 or defense.periods_back > 0


@final
@dataclass(frozen=True, slots=True)
class Lineage:
    """The clean base and clean updates, oldest first, and the `last` update by whether it is planted.

    `labs` hold what was known when each was trained, `versions` what a platform keeps of them.
    """

    labs: tuple[Lab, ...]
    versions: tuple[Version, ...]
    last: Mapping[bool, Lab]

    def asked(self, defense: Any, *, planted: bool) -> tuple[Lab, dict[str, Any]]:
        """Ask about each version in order; return the last update, as it is shown then, and figures of those before.

        A defense that neither judges nor remembers is asked about the last one alone. What it returns as state is
        handed on. What it drops or requests changes nothing in the lineage.
        """
        last, found, state = self.last[planted], list[float](), State()
        if defense.surface == "screen":
            served = (*self.versions, _version(last))
            return replace(last, past=Past(history(served, defense), period=len(self.labs), subject="champion")), {}
        walk = self.labs if defense.remembers or defense.surface in ("inspector", "filter") else ()
        for period, lab in enumerate(walk):
            try:
                result = _ask(defense, self._shown(lab, period, defense, state))
            except DoesNotApply:
                continue
            state = _kept(defense, result.state, period) or state
            if period:  # of the base there is nothing before to compare with
                found.append(_raised(result))
        figures = {"updates": {"asked": len(found), "raised": round(sum(found), 4)}} if found else {}
        return self._shown(last, len(self.labs), defense, state), figures

    def _shown(self, lab: Lab, period: int, defense: Defense, state: State) -> Lab:
        return replace(lab, past=Past(history(self.versions[:period], defense), state, period))


def lineage(data: SourceData, sizes: Sizes, base: Lab) -> Lineage:
    """Return the updates of a clean lab's model, on rows that it was not trained on; its own window is period 0.

    Each update is fine-tuned from the version before. The two last updates have the same rows, apart from the poison.
    """
    order = torch.randperm(len(data.labels), generator=generator(base.seed, "rows"))[sizes.window + sizes.trusted :]
    count = min(sizes.update, len(order) // (UPDATES + 1))
    recipe = _of_updates(base)
    windows = [batch_of(data.images, data.labels, part) for part in order[: count * (UPDATES + 1)].split(count)]
    labs = [base]
    for window in windows[:UPDATES]:
        labs.append(_updated(labs[-1], window, recipe, len(labs)))
    clean = _updated(labs[-1], windows[-1], recipe, len(labs))
    return Lineage(tuple(labs), tuple(map(_version, labs)), {False: clean, True: _planted(labs[-1], clean, recipe)})


def next_update(found: Lab, defense: Defense, state: State | None) -> Lab:
    """Return the update of a lab's model on its clean fresh rows, as a platform shows it to a training `defense`.

    `state` is what the defense returned after training that model.
    """
    updated = _updated(found, found.fresh, _of_updates(found), 1)
    past = Past(history([_version(found)], defense), _kept(defense, state, 0) or State(), 1, "champion")
    return replace(updated, past=past)


def _of_updates(base: Lab) -> Recipe:
    """Return the recipe of a lab's updates: as many epochs as its base's, and small batches, for there are few rows."""
    phase = base.recipe.update.model_copy(update={"epochs": base.recipe.base.epochs, "batch": _BATCH})
    return base.recipe.model_copy(update={"base": phase})


def _updated(before: Lab, window: Batch, recipe: Recipe, period: int) -> Lab:
    seed = seed_for(before.seed, "update", period)
    model: nn.Module = fit(before.model, window, recipe.base, recipe, seed=seed, update=True).model.eval()
    nothing = torch.zeros(len(window), dtype=torch.bool)
    return replace(
        before, model=model, initial=before.model, recipe=recipe, window=window, poison=nothing, fresh=window
    )


def _planted(before: Lab, clean: Lab, recipe: Recipe) -> Lab:
    window = clean.window
    found = clean.attack.poison(window.images, window.labels, LAST_RATE, generator(clean.seed, "poison"))
    poisoned = _updated(before, Batch(found.images, found.labels, window.ids), recipe, UPDATES + 1)
    return replace(poisoned, poison=found.roles == POISON, fresh=window)


def _version(lab: Lab) -> Version:
    right = predicted(lab.model, lab.trusted.images) == lab.trusted.labels
    return Version(lab.model, lab.window, float(right.float().mean()))


def _ask(defense: Any, lab: Lab) -> Any:
    method = {"filter": "filter", "repair": "repair", "inspector": "inspect"}[defense.surface]
    return getattr(defense, method)(lab.context(window=rows(lab.window)))


def _kept(defense: Defense, state: State | None, period: int) -> State | None:
    """Return what the platform hands back of a state: values as JSON gives them."""
    if state is None or not defense.remembers:
        return None
    return State(json.loads(json.dumps(dict(state.values))), copy.deepcopy(dict(state.tensors)), period)


def _raised(result: Any) -> float:
    """Return 1 for a flag, or the share of rows dropped; 0 of what raises no alarm."""
    if hasattr(result, "flagged"):
        return float(result.flagged)
    return float((~result.keep).float().mean()) if hasattr(result, "keep") else 0.0
