"""One defense on one model, by its surface: what it removes, what it costs, and what it does where nothing is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.defenses.lab import Lab, predicted, rows
from benchmarks.defenses.lineage import Lineage, looks_back, next_update
from defenses.base import Context, Defense, DoesNotApply
from simulator.scenario import catalog

Figures = dict[str, Any]
#: degrees by which clean windows have turned
DRIFTED = (0.0, 5.0, 10.0, 15.0)
#: told what to do by their options, so there is nothing to measure
_TOLD = ("scripted",)


def registered() -> dict[str, type[Defense]]:
    """Return every defense that is registered, ours and others', by name; not those that are told what to do."""
    found = {name: catalog.resolve("defenses", name) for name in catalog.names("defenses") if name not in _TOLD}
    return dict(sorted(found.items()))


def measured(name: str, found: Lab, line: Callable[[], Lineage] | None = None) -> Figures:
    """Return the surface, `status` (measured, not applicable, failed) with its reason, cost and the surface's figures.

    `seconds` are those of the processor on one thread; `passes`: images through the model, with gradients three. A
    defense that looks back is asked about the versions of `line()`, and measured on the last in the place of `found`;
    one that trains is measured on the first training of `found`, and on its next one.
    """
    surface = registered()[name].surface
    cost: Figures = {"seconds": 0.0, "passes": 0}
    try:
        defense: Any = catalog.build("defenses", name)
        figures: Figures = {}
        if line is not None and surface != "training" and looks_back(defense):
            found, figures = line().asked(defense, planted=bool(found.poison.any()))
        figures |= _MEASURES[surface](defense, found, cost)
    except DoesNotApply as reason:
        return {"surface": surface, "status": "not applicable", "reason": str(reason)}
    except (Exception, SystemExit) as error:  # noqa: BLE001  third-party code may raise anything
        return {"surface": surface, "status": "failed", "reason": f"{type(error).__name__}: {error}"}
    return {"surface": surface, "status": "measured", **figures, **cost}


def _filter(defense: Any, found: Lab, cost: Figures) -> Figures:
    """With the features of the model that was trained on the window, as a filter that asks for `again` has them."""
    context = found.context(window=rows(found.window))
    with _counted(context, cost):
        keep = defense.filter(context).keep
    figures: Figures = {"clean_dropped": _share(~keep[~found.poison])}
    if found.poison.any():
        return {"recall": _share(~keep[found.poison]), **figures}
    windows = {degrees: rows(found.drifted(degrees)) for degrees in DRIFTED}
    drops = {f"{degrees:g}": _drops(defense, found.context(window=window)) for degrees, window in windows.items()}
    return {**figures, "drifted_dropped": drops}


def _drops(defense: Any, context: Context) -> float | None:
    try:
        return _share(~defense.filter(context).keep)
    except DoesNotApply:
        return None


def _training(defense: Any, found: Lab, cost: Figures) -> Figures:
    """Where the network is first trained, on the window; and at an update with clean rows, beside the plain update."""
    context = found.training_context()
    with _counted(context, cost):
        first = defense.train(context)
    later = next_update(found, defense, first.state)
    trained = defense.train(later.training_context()).model
    return {**_before_and_after(found, first.model), "next_update": _before_and_after(later, trained)}


def _repair(defense: Any, found: Lab, cost: Figures) -> Figures:
    context = found.context(window=rows(found.window))
    with _counted(context, cost):
        model = defense.repair(context).model
    return _before_and_after(found, model)


def _before_and_after(found: Lab, model: nn.Module) -> Figures:
    models = {"before": found.model, "after": model}
    return {
        "attack_success": {when: round(found.attack_success(one), 4) for when, one in models.items()},
        "accuracy": {when: round(found.accuracy(one), 4) for when, one in models.items()},
    }


def _inspector(defense: Any, found: Lab, cost: Figures) -> Figures:
    context = found.context(window=rows(found.window))
    with _counted(context, cost):
        result = defense.inspect(context)
    return {"flagged": bool(result.flagged), "score": float(result.score), "threshold": float(result.threshold)}


def _screen(defense: Any, found: Lab, cost: Figures) -> Figures:
    """Attack success after it counts stamped images that are answered with the target; clean ones those refused."""
    stamped, clean, target = found.stamped(), found.test.images, found.attack.target
    context = found.context(incoming=stamped.clone())
    with _counted(context, cost):
        result = defense.screen(context)
    usual = defense.screen(found.context(incoming=clean.clone()))
    before = predicted(found.model, stamped) == target
    after = (_answers(result, predicted(found.model, stamped)) == target) & ~result.flagged
    right = (_answers(usual, predicted(found.model, clean)) == found.test.labels) & ~usual.flagged
    return {
        "attack_success": {"before": _share(before), "after": _share(after)},
        "accuracy": {"before": round(found.accuracy(found.model), 4), "after": _share(right)},
        "clean_refused": _share(usual.flagged),
    }


def _answers(result: Any, own: Tensor) -> Tensor:
    return own if result.answers is None else torch.where(result.answers >= 0, result.answers, own)


_MEASURES: dict[str, Callable[[Any, Lab, Figures], Figures]] = {
    "filter": _filter,
    "training": _training,
    "repair": _repair,
    "inspector": _inspector,
    "screen": _screen,
}


@contextmanager
def _counted(context: Context, cost: Figures) -> Iterator[None]:
    """Add seconds of the processor, and passes through the context's model or copies of it, to `cost`."""

    def count(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        cost["passes"] += len(inputs[0]) * (3 if torch.is_grad_enabled() else 1)

    hook = context.model.register_forward_pre_hook(count)
    start = time.process_time()
    try:
        yield
    finally:
        cost["seconds"] += round(time.process_time() - start, 3)
        hook.remove()


def _share(chosen: Tensor) -> float:
    return round(float(chosen.float().mean()), 4) if len(chosen) else 0.0
