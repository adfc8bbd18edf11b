"""Base class of attackers that control training and use another attack's trigger."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from simulator.errors import PluginError
from simulator.scenario import catalog
from simulator.world.attacks.base import POISON, Attack, Poisoned
from simulator.world.attacks.training import TrainingView


@dataclass(eq=False, kw_only=True)
class Durable(Attack):
    """Poisons and stamps as `trigger` does, and replaces the platform's training wherever rows are poison.

    `trigger` is an attack as a scenario writes it, {use: NAME, option: value, ...}, of the threat model `poisons-data`
    and without its target, which is `target`; None is the patch with its defaults. Source classes and largest change
    are the trigger's. Raises `ValueError` for a trigger that cannot be built.
    """

    threat_model: ClassVar[Literal["poisons-data", "surrogate", "controls-training", "none"]] = "controls-training"

    target: int = 0
    trigger: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.wrapped = built_trigger({"use": "patch"} if self.trigger is None else self.trigger, self.target)
        self.sources = self.wrapped.sources
        self.largest_change = self.wrapped.largest_change
        self.content = self.wrapped.content

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Poison as the trigger's own attack does."""
        return self.wrapped.poison(images, labels, rate, generator)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Stamp as the trigger's own attack does."""
        return self.wrapped.stamp(images, opacity)

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Refuse what the trigger's own attack refuses."""
        self.wrapped.check_fits(shape, classes)

    def named_classes(self) -> dict[str, tuple[int, ...]]:
        """Return the classes that the trigger's own attack names."""
        return self.wrapped.named_classes()

    def of_source(self, labels: Tensor) -> Tensor:
        """Return which rows are of a source class of the trigger's own attack."""
        return self.wrapped.of_source(labels)

    def train(self, view: TrainingView) -> nn.Module:
        """Train durably; as the platform would where fewer than two rows are poison, or fewer than two are not."""
        poison = (view.roles == POISON).nonzero().flatten()
        others = (view.roles != POISON).nonzero().flatten()
        if min(len(poison), len(others)) < 2:
            return view.fit(view.model, view.images, view.labels)
        return self.train_on(view, poison, others).eval()

    @abstractmethod
    def train_on(self, view: TrainingView, poison: Tensor, others: Tensor) -> nn.Module:
        """Return `view.model` trained; `poison` and `others` int64 are positions of rows, at least two of each."""


def _require_one_target(use: str) -> None:
    """Raise `ValueError` for an attack whose target depends on the image's class: it cannot be given another's."""
    try:
        found = catalog.resolve("attacks", use)
    except PluginError as error:
        raise ValueError(f"trigger: {error}") from error
    if getattr(found, "for_classes", Attack.for_classes) is not Attack.for_classes:
        raise ValueError(
            f"expected trigger to be an attack with one target, got '{use}', whose target depends on the image's "
            "class; choose one such as patch"
        )


def built_trigger(trigger: Mapping[str, Any], target: int) -> Attack:
    """Return the attack that `trigger` describes, with this target; `ValueError` says what is wrong with it."""
    use = trigger.get("use")
    if not isinstance(use, str):
        raise ValueError(f"expected trigger to name an attack, as {{use: patch}}, got {dict(trigger)}; add use")
    if "target" in trigger:
        raise ValueError(f"expected target beside trigger, got it inside ({trigger['target']}); move it out")
    _require_one_target(use)
    options = {**{name: value for name, value in trigger.items() if name != "use"}, "target": target}
    try:
        found: Attack = catalog.build("attacks", use, options)
    except PluginError as error:
        raise ValueError(f"trigger: {error}") from error
    if found.threat_model != "poisons-data":
        raise ValueError(
            f"expected trigger to be an attack that poisons data, got '{use}' ({found.threat_model}); "
            "choose one such as patch"
        )
    return found
