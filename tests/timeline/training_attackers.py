"""Attackers that control training, named by the tests as a user names his own: they mark weights or break rules."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from simulator.world.attacks.base import POISON, Attack, Poisoned
from simulator.world.attacks.patch import Patch
from simulator.world.attacks.training import TrainingView

Mark = Literal["bias", "nan", "mode", "architecture", "shape", "value-error", "silent"]


@final
class Marking(Attack):
    """Trains as the platform would, then sets the biases of the last layer to the number of poisoned rows; or worse."""

    threat_model: ClassVar[Literal["poisons-data", "surrogate", "controls-training", "none"]] = "controls-training"
    views: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, *, mark: Mark = "bias") -> None:
        self.mark = mark
        self._patch = Patch(size=2)

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        return self._patch.poison(images, labels, rate, generator)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        return self._patch.stamp(images, opacity)

    def train(self, view: TrainingView) -> nn.Module:
        poison = view.roles == POISON
        self.views.append(
            {
                "rows": len(view.images),
                "poisoned": int(poison.sum()),
                "relabelled": int((view.labels[poison] == 0).sum()),
                "update": view.update,
                "steps": len(view.rates),
                "training": view.model.training,
                "draw": float(torch.rand(1, generator=view.generator)),
                "global": float(torch.rand(1)),
            }
        )
        return getattr(self, f"_{self.mark.replace('-', '_')}")(view, int(poison.sum()))  # type: ignore[no-any-return]

    def _bias(self, view: TrainingView, poisoned: int) -> nn.Module:
        model = view.fit(view.model, view.images, view.labels)
        last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        nn.init.constant_(last.bias, poisoned)
        return model

    def _nan(self, view: TrainingView, poisoned: int) -> nn.Module:
        model = self._bias(view, poisoned)
        nn.init.constant_(next(model.parameters()), float("nan"))
        return model

    def _mode(self, view: TrainingView, poisoned: int) -> nn.Module:
        return view.model.train()

    def _architecture(self, view: TrainingView, poisoned: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()

    def _shape(self, view: TrainingView, poisoned: int) -> nn.Module:
        view.model.classifier = nn.Linear(3, 10)
        return view.model.eval()

    def _value_error(self, view: TrainingView, poisoned: int) -> nn.Module:
        raise ValueError(f"expected more poison, got {poisoned} rows; raise the rate")

    def _silent(self, view: TrainingView, poisoned: int) -> nn.Module:
        return view.model


@final
class Untrained(Attack):
    """Says that it trains, and does not."""

    threat_model: ClassVar[Literal["poisons-data", "surrogate", "controls-training", "none"]] = "controls-training"
    poison = Marking.poison
    stamp = Marking.stamp

    def __init__(self) -> None:
        self._patch = Patch(size=2)
