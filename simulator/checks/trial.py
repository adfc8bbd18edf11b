"""A defense asked about the last update of the example as the platform asks: period after period, with its memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from defenses.base import Context, DoesNotApply, Rows
from defenses.base import Subject as About
from simulator.batch import Batch
from simulator.checks.example import CLASSES, UPDATE, Example, rows_of
from simulator.checks.material import stream
from simulator.checks.subject import Subject
from simulator.production.defending.job import METHODS
from simulator.production.defending.memory import Memory
from simulator.production.defending.recipe import RecipeFacts, recipe_of
from simulator.production.defending.results import read_result
from simulator.production.training.features import feature_layer
from simulator.records import Outcome
from simulator.tensors import weights_of

_NAME: Final = "tried"
#: more than there are periods: the generators of two seeds have none in common
_CALLS: Final = 1000


@final
class Trial:
    """Calls of a defense, built anew for each, about the example's planted or clean update (`kind`).

    `seed` chooses the generators that it is handed. Every method raises `DoesNotApply` as the defense does, and
    `Unusable` where the platform could not use a result.
    """

    def __init__(self, subject: Subject, found: Example, kind: str, seed: int = 0) -> None:
        self._subject, self._found, self._kind, self._seed = subject, found, kind, seed
        self._memory = Memory()
        self.last = len(found.batches)

    def of_candidate(self) -> Any:
        """Return what an inspector or a repair says of the candidate, after it was asked about those before."""
        found = self._found
        for period in range(self._first_period()):
            self._earlier(period, "candidate", found.versions[period], found.batches[period])
        return self._call(self.last, "candidate", found.models[self._kind], found.windows[self._kind])

    def of_window(self) -> list[Any]:
        """Return what a filter makes of the window: with the champion's features, and if it asks, the candidate's."""
        found = self._found
        for period in range(self._first_period()):
            about: About = "champion" if period else "candidate"
            self._earlier(period, about, found.versions[max(0, period - 1)], found.batches[period])
        window = found.windows[self._kind]
        first = self._call(self.last, "champion", found.versions[-1], window)
        return [first, self._call(self.last, "candidate", found.models[self._kind], window)] if first.again else [first]

    def trained(self) -> Any:
        """Return what a defense that trains makes of the champion and the window."""
        found = self._found
        for period in range(1, self._first_period()):
            self._earlier(period, "champion", found.versions[period - 1], found.batches[period])
        return self._call(self.last, "champion", found.versions[-1], found.windows[self._kind])

    def of_images(self, images: Tensor) -> Any:
        """Return what a screen says of images that the candidate is asked about once it serves."""
        return self._call(self.last, "champion", self._found.models[self._kind], None, images)

    def _first_period(self) -> int:
        """How many periods are played before: none for a defense that remembers nothing."""
        return self.last if self._subject.make().remembers else 0

    def _earlier(self, period: int, about: About, model: nn.Module, window: Batch) -> None:
        try:
            self._call(period, about, model, window)
        except DoesNotApply:
            return

    def _call(
        self, period: int, about: About, model: nn.Module, window: Batch | None, incoming: Tensor | None = None
    ) -> Any:
        defense = self._subject.make()
        context = self._context(period, about, copy.deepcopy(model).eval(), window, incoming)
        weights: Mapping[str, Tensor] = {name: value.clone() for name, value in weights_of(context.model).items()}
        result = getattr(defense, METHODS[defense.surface])(context)
        outcome = Outcome(surface=defense.surface, name=_NAME, status="failed", reason="")
        seen = incoming if window is None else window.labels
        rows = 0 if seen is None else len(seen)
        run = read_result(result, outcome, rows, weights, classes=CLASSES, remembers=defense.remembers)
        if run.state is not None:
            self._memory.write(_NAME, run.state, period)
        return result

    def _context(
        self, period: int, about: About, model: nn.Module, window: Batch | None, incoming: Tensor | None
    ) -> Context:
        defense = self._subject.make()
        trusted = self._found.trusted
        training = defense.surface == "training"
        return Context(
            model=model.train() if training else model,
            feature_layer=feature_layer(model),
            classes=CLASSES,
            device=torch.device("cpu"),
            trusted=Rows(trusted.images.clone(), trusted.labels.clone()),
            generator=stream(period + _CALLS * self._seed),
            window=None if window is None else rows_of(window, period),
            incoming=None if incoming is None else incoming.clone(),
            period=period,
            subject=about,
            recipe=recipe_of(RecipeFacts.of(UPDATE, len(window))) if training and window is not None else None,
            history=self._found.history(defense, period),
            state=self._memory.of(_NAME),
        )
