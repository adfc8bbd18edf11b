"""A backdoor trained into a flat minimum, then against simulated clean fine-tuning: SBL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from simulator.scenario.bounds import Count, InnerShare, NonNegative, Positive
from simulator.world.attacks.descent import batches, frozen_statistics, gradient, loss_on, step, stretched
from simulator.world.attacks.durable import Durable
from simulator.world.attacks.training import TrainingView

#: rows of a minibatch that the importance of weights is measured on, and its bound, in means
_IMPORTANCE_ROWS, _LARGEST_IMPORTANCE = 16, 100.0


@final
@dataclass(eq=False, kw_only=True)
class FlatMinimum(Durable):
    """SBL: sharpness-aware training with poison, then a rehearsal of the clean fine-tuning that is to come.

    The rows that are not poison are split: the share `rehearsal` in (0, 1) is for the second stage, the rest, with all
    poison, for the first. Stage one is sharpness-aware: `epochs` passes at the platform's learning rates, stretched,
    each step along the gradient at the weights `radius` away (L2 norm) in the direction of steepest ascent. Stage two
    is clean: `rehearsal_epochs` passes at the learning rate `rehearsal_rate`, sharpness-aware too; after each step
    every weight is pulled back by the share r / (1 + r), r = rehearsal_rate * `anchor` * importance, towards its value
    at the end of stage one.
    The importance is the diagonal Fisher information of the poison, over its mean, at most 100 (EWC).

    Pham, Ta, Tran and Doan, "Flatness-aware Sequential Learning Generates Resilient Backdoors", ECCV 2024 (rehearsal
    0.1, 150 and 100 epochs at 0.01 and 0.001, EWC 1). Deviations: as few epochs as the platform's; the EWC penalty is
    taken as a proximal step, which is stable at any rate; its Fisher information is the poison's, not all rows'.
    No published figure is quoted; compare with the same trigger's attack that only poisons data.

    >>> attack = FlatMinimum(radius=0.05, trigger={"use": "patch", "size": 1})
    >>> attack.threat_model, attack.stamp(torch.zeros(1, 1, 8, 8))[0, 0, 7, 6:].tolist()
    ('controls-training', [0.0, 1.0])
    """

    radius: Positive = 0.1
    epochs: Count = 6
    rehearsal: InnerShare = 0.1
    rehearsal_epochs: Count = 4
    rehearsal_rate: Positive = 0.05
    anchor: NonNegative = 10.0

    def train_on(self, view: TrainingView, poison: Tensor, others: Tensor) -> nn.Module:
        """Train in two stages."""
        drawn = others[torch.randperm(len(others), generator=view.generator).to(others.device)]
        count = max(2, round(self.rehearsal * len(others)))
        model = view.model.train()
        self._plant(view, model, torch.cat([drawn[count:], poison]))
        self._rehearse(view, model, drawn[:count], _importance(view, model, poison))
        return model

    def _plant(self, view: TrainingView, model: nn.Module, rows: Tensor) -> None:
        optimizer = view.optimizer(model.parameters())
        plan = list(batches(view, rows, self.epochs))
        for part, rate in zip(plan, stretched(view.rates, len(plan)), strict=True):
            step(view, model, optimizer, at_worst(view, model, part, self.radius), rate, 2 * len(part))

    def _rehearse(self, view: TrainingView, model: nn.Module, rows: Tensor, importance: list[Tensor]) -> None:
        anchors = [parameter.detach().clone() for parameter in model.parameters()]
        pulls = [self.rehearsal_rate * self.anchor * weight for weight in importance]
        optimizer = view.optimizer(model.parameters())
        for part in batches(view, rows, self.rehearsal_epochs):
            found = at_worst(view, model, part, self.radius)
            step(view, model, optimizer, found, self.rehearsal_rate, 2 * len(part))
            with torch.no_grad():
                for parameter, anchor, pull in zip(model.parameters(), anchors, pulls, strict=True):
                    parameter.add_(pull * anchor).div_(1 + pull)


def at_worst(view: TrainingView, model: nn.Module, rows: Tensor, radius: float) -> list[Tensor]:
    """Return the gradient on `rows` at the weights `radius` away along the gradient; the weights are restored."""
    found = gradient(model, loss_on(view, model, rows))
    norm = torch.stack([one.norm() for one in found]).norm().clamp(min=1e-12)
    kept = [parameter.detach().clone() for parameter in model.parameters()]
    with torch.no_grad():
        for parameter, one in zip(model.parameters(), found, strict=True):
            parameter.add_(one * (radius / norm))
    with frozen_statistics(model):
        there = gradient(model, loss_on(view, model, rows))
    with torch.no_grad():
        for parameter, before in zip(model.parameters(), kept, strict=True):
            parameter.copy_(before)
    return there


def _importance(view: TrainingView, model: nn.Module, poison: Tensor) -> list[Tensor]:
    """Return the squared gradients of small minibatches of poison for each weight, over the mean of all weights."""
    total = [torch.zeros_like(parameter) for parameter in model.parameters()]
    with frozen_statistics(model):
        for part in batches(view, poison, 1, _IMPORTANCE_ROWS):
            found = gradient(model, loss_on(view, model, part))
            total = [one + other.square() for one, other in zip(total, found, strict=True)]
    mean = torch.cat([one.flatten() for one in total]).mean().clamp(min=1e-20)
    return [(one / mean).clamp(max=_LARGEST_IMPORTANCE) for one in total]
