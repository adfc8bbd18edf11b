"""The contract of attacks: one object poisons training rows and stamps test images, so that both use one trigger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from simulator.scenario.bounds import Bounded
from simulator.world.attacks.surrogate import SurrogateView
from simulator.world.attacks.training import TrainingView

CLEAN, POISON, COVER = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Poisoned:
    """`images` float32 (N, C, H, W), `labels` int64 (N,), `roles` int8 (N,) of CLEAN, POISON, COVER; order as given."""

    images: Tensor
    labels: Tensor
    roles: Tensor


class Attack(Bounded, ABC):
    """A backdoor attack. Subclasses are abstract or final; constructor options are keyword-only and have defaults."""

    #: what the attacker needs: poisons data, has a surrogate, or controls training
    threat_model: ClassVar[Literal["poisons-data", "surrogate", "controls-training", "none"]] = "poisons-data"
    #: largest change of one pixel of a stamped image, in [0, 1]
    largest_change: float = 1.0
    #: conformance checks this class may skip, by name, each with its reason
    skips: ClassVar[dict[str, str]] = {}

    #: the class that the model shall predict for stamped images
    target: int = 0
    #: where the goal depends on the image's class: the class that each class shall become; None: `target` for all
    targets: tuple[int, ...] | None = None
    #: the classes whose stamped images shall be predicted as the target, for measuring success; None: all others
    sources: tuple[int, ...] | None = None
    #: for the threat model `surrogate`: the largest number of clean rows that the attacker has
    surrogate_rows: int = 5000
    #: SHA-256 of what the attack has read from files of the user's, for what is cached by its options; empty: nothing
    content: str = ""
    #: measurements made by `prepared`, by name, for display only
    measured: Mapping[str, float] = MappingProxyType({})

    def prepared(self, view: SurrogateView) -> Attack:
        """Return the attack as it is carried out, after the attacker has trained a surrogate on its own rows.

        Called only when `threat_model` is `surrogate`, once a world, before it first stamps or poisons for a run; the
        same view gives the same attack. Until then `check_fits`, `poison` and `stamp` must work without a surrogate:
        `poison` then changes as many rows as it will afterwards.
        """
        return self

    def train(self, view: TrainingView) -> nn.Module:
        """Return the model that the attacker trains: `view.model`'s architecture, in eval mode, finite weights.

        Called only when `threat_model` is `controls-training`, instead of the platform's own training, whenever new
        rows of a poisoned period are trained on. The same view gives the same weights; images, labels and roles are
        left as they are. It can happen that none of the rows is poison: after filters, or at a low rate.
        """
        raise NotImplementedError(
            f"expected {type(self).__name__} to have a method train, as its threat model is {self.threat_model}, "
            "got none; write one, or choose another threat model"
        )

    @abstractmethod
    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Replace rows in place: about `rate * N` of them become poison (same count and order).

        `images` float32 (N, C, H, W) in [0, 1]; draw rows from the CPU `generator` alone. Inputs are not changed.
        """

    @abstractmethod
    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies of `images` with the trigger at `opacity` in [0, 1]; 0 gives the images unchanged."""

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Raise `ValueError` when trigger, target or sources do not fit images of `shape` (C, H, W) and `classes`."""
        if not 0 <= self.target < classes:
            raise ValueError(
                f"expected target to be in [0, {classes - 1}], got {self.target}; choose a class of the source"
            )
        if self.sources is not None and not set(self.sources) <= set(range(classes)) - {self.target}:
            raise ValueError(
                f"expected sources to be classes in [0, {classes - 1}] other than target {self.target}, "
                f"got {list(self.sources)}; choose others"
            )

    def for_classes(self, classes: int) -> Attack:
        """Return the attack for data of so many classes, which `check_fits` has accepted; called before all else."""
        return self

    def targets_of(self, labels: Tensor) -> Tensor:
        """Return the class that each image shall be predicted as, int64 (N,), for its true class in `labels`."""
        if self.targets is None:
            return torch.full_like(labels, self.target)
        return torch.tensor(self.targets, device=labels.device)[labels]

    def named_classes(self) -> dict[str, tuple[int, ...]]:
        """Return the classes that the attack names, by what they are to it: the data must have rows of each."""
        return {"target": (self.target,), "source": self.sources or ()}

    def of_source(self, labels: Tensor) -> Tensor:
        """Return which rows are of a source class, bool (N,), for `labels` int64 (N,)."""
        if self.sources is None:
            return labels != self.targets_of(labels)
        return torch.isin(labels, torch.tensor(self.sources, device=labels.device))


def choose_rows(
    eligible: Tensor, count: int, generator: torch.Generator, what: str = "rows that can be poisoned"
) -> Tensor:
    """Return `count` positions (sorted int64, CPU) where the mask `eligible` (N,) holds, drawn without replacement.

    Raises `ValueError` when there are fewer than `count` of them; `what` says in the sentence what they are.
    """
    rows = eligible.cpu().nonzero().flatten()
    if count > len(rows):
        raise ValueError(f"expected at least {count} {what}, got {len(rows)}; lower the rate")
    return rows[torch.randperm(len(rows), generator=generator)[:count]].sort().values
