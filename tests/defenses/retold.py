"""The example of `ebbdoor check` told in another way, rows in another order or classes renamed, and what is said of it.

What a defense says is one int64 vector, so that two tellings can be compared entry by entry.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from defenses.base import DoesNotApply
from simulator.batch import Batch
from simulator.checks.example import CLASSES, Example, example, predicted
from simulator.checks.subject import Subject
from simulator.checks.trial import Trial
from simulator.production.training.features import feature_layer
from simulator.scenario import catalog

#: of two models made from other draws: each errs on one test image in twenty, as those of the example do; and where a
#: repair costs as much accuracy as `test_planted_and_clean` allows in one of them and nothing in the other, on two more
REDRAWN = {"training": 0.9, "repair": 0.8}
#: entries of what a screen says of an image, beside the class that it answers
REFUSED, LEFT_TO_THE_MODEL = -2, -1
#: stamped images, and as many clean ones, that screens are asked about
_IMAGES = 150


def ours(*surfaces: str) -> list[str]:
    """Return the names of our defenses of these surfaces, of all where none is named; `scripted` decides nothing."""
    names = [name for name in catalog.names("defenses") if not catalog.is_third_party("defenses", name)]
    built = {name: catalog.build("defenses", name) for name in names if name != "scripted"}
    return [name for name, one in built.items() if not surfaces or one.surface in surfaces]


def incoming_of(found: Example) -> Tensor:
    """Return stamped images and clean ones."""
    return torch.cat([found.stamped[:_IMAGES], found.test.images[:_IMAGES]])


def said(name: str, found: Example, kind: str = "planted", *, incoming: Tensor | None = None) -> Tensor | None:
    """Return what the defense says of the example's `kind`; None where it does not apply.

    A filter, of each row at its last look: 1 keep, 0 drop. A screen, of each image: `REFUSED`, `LEFT_TO_THE_MODEL` or
    the class it answers. A repair or a training: the class that its model names for each test image. An inspector: 1
    or 0 for the flag, then the class that it suspects, -1 for none.
    """
    subject = Subject("defenses", name, catalog.resolve("defenses", name))
    trial, surface = Trial(subject, found, kind), subject.make().surface
    try:
        if surface == "filter":
            return trial.of_window()[-1].keep.long()
        if surface == "screen":
            return _of_screen(trial.of_images(incoming_of(found) if incoming is None else incoming))
        if surface == "inspector":
            result = trial.of_candidate()
            suspect = result.evidence.get("suspect")
            return torch.tensor([int(result.flagged), -1 if suspect is None else suspect])
        made = trial.trained() if surface == "training" else trial.of_candidate()
        return predicted(made.model, found.test.images)
    except DoesNotApply:
        return None


@cache
def usual(name: str, kind: str = "planted") -> Tensor | None:
    """Return what is said of the example as it is: what other tellings are compared with."""
    return said(name, example(), kind)


def agreement(one: Tensor | None, other: Tensor | None) -> float:
    """Return the share of entries that are the same; 1 where neither applies, 0 where one does."""
    if one is None or other is None:
        return float(one is other)
    return float((one == other).double().mean())


def shuffled(count: int, seed: int = 5) -> Tensor:
    """Return an order of `count` rows."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def window_in(order: Tensor, found: Example) -> Example:
    """Return the example with the last windows' rows in another order."""
    windows = {kind: window.take(order) for kind, window in found.windows.items()}
    return replace(found, windows=windows, poison=found.poison[order])


def trusted_in(order: Tensor, found: Example) -> Example:
    """Return the example with the trusted images in another order."""
    return replace(found, trusted=found.trusted.take(order))


#: class n is called `NAMES[n]` in the other telling; no class keeps its name
NAMES = torch.tensor([3, 7, 0, 9, 1, 8, 2, 4, 6, 5])


def classes_renamed(found: Example) -> Example:
    """Return the example with labels renamed everywhere, and the last layer of every model permuted alike."""
    return replace(
        found,
        versions=tuple(_model_renamed(model) for model in found.versions),
        models={kind: _model_renamed(model) for kind, model in found.models.items()},
        batches=tuple(_batch_renamed(batch) for batch in found.batches),
        windows={kind: _batch_renamed(window) for kind, window in found.windows.items()},
        trusted=_batch_renamed(found.trusted),
        test=_batch_renamed(found.test),
    )


def renamed_in(words: Tensor | None, surface: str) -> Tensor | None:
    """Return what was `said` of the one telling as it would be said of the other."""
    if words is None or surface == "filter":
        return words
    named = torch.where(words >= 0, NAMES[words.clamp(min=0)], words)
    return torch.cat([words[:1], named[1:]]) if surface == "inspector" else named


def _of_screen(result: Any) -> Tensor:
    flagged, answers = result.flagged.cpu(), result.answers
    told = torch.full(flagged.shape, LEFT_TO_THE_MODEL) if answers is None else answers.cpu()
    return torch.where(flagged, REFUSED, told)


def _batch_renamed(batch: Batch) -> Batch:
    return Batch(batch.images, NAMES[batch.labels], batch.ids)


@torch.no_grad()
def _model_renamed(model: nn.Module) -> nn.Module:
    assert len(NAMES) == CLASSES
    other = copy.deepcopy(model)
    head, before = other.get_submodule(feature_layer(model)), model.get_submodule(feature_layer(model))
    for tensor, own in zip(head.parameters(), before.parameters(), strict=True):
        tensor[NAMES] = own
    return other.eval()
