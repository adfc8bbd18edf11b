"""A trigger that makes every class another one: all-to-all."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from simulator.scenario.bounds import Count
from simulator.world.attacks.base import POISON, Attack, Poisoned, choose_rows
from simulator.world.attacks.durable import built_trigger
from simulator.world.attacks.poisoning import changed, untouched


@final
@dataclass(eq=False, kw_only=True)
class AllToAll(Attack):
    """All-to-all: a stamped image of class k shall be predicted as class k + `shift`, after the last one the first.

    `trigger` is an attack as a scenario writes it, {use: NAME, option: value, ...}, of the threat model `poisons-data`
    and without its target; None is the patch with its defaults. Only its stamp is used. Rows of every class are
    poisoned, and attack success is read over all classes: a stamped image counts that is predicted as its own class's
    target. A model that merely confuses a class with the next one has some success without any backdoor: read the net
    attack success.

    Gu, Dolan-Gavitt and Garg, "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain", 2017.
    BackdoorBench measures it as `all2all`, with the shift 1.

    >>> attack = AllToAll(trigger={"use": "patch", "size": 1}).for_classes(3)
    >>> attack.poison(torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, 2]), 1.0, torch.Generator()).labels.tolist()
    [1, 2, 0, 0]
    """

    shift: Count = 1
    trigger: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.wrapped = built_trigger({"use": "patch"} if self.trigger is None else self.trigger, 0)
        self.largest_change = self.wrapped.largest_change
        self.content = self.wrapped.content

    def for_classes(self, classes: int) -> AllToAll:
        """Return a copy that knows the target of each of the classes."""
        found = copy.copy(self)
        found.targets = tuple((label + self.shift) % classes for label in range(classes))
        return found

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Stamp round(`rate` * N) rows of any class, and label each as its class's target."""
        if self.targets is None:
            raise ValueError("expected the number of classes to be known, got none; call for_classes first")
        rows = choose_rows(self.of_source(labels), round(rate * len(labels)), generator).to(labels.device)
        batch = changed(untouched(images, labels), rows, self.stamp, POISON)
        return Poisoned(batch.images, labels.index_copy(0, rows, self.targets_of(labels[rows])), batch.roles)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Stamp as the trigger's own attack does."""
        return self.wrapped.stamp(images, opacity)

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Refuse what the trigger's own attack refuses, and a shift by which every class stays itself."""
        self.wrapped.check_fits(shape, classes)
        if self.shift % classes == 0:
            raise ValueError(
                f"expected shift to lead from one of {classes} classes to another, got {self.shift}; "
                f"choose 1 to {classes - 1}"
            )

    def named_classes(self) -> dict[str, tuple[int, ...]]:
        """Name none: classes without rows are neither poisoned nor read."""
        return {}
