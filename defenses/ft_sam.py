"""FT-SAM: steps that lower the loss where it is worst around the weights shrink the neurons that a trigger drives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, final

import torch
from annotated_types import Gt, Interval
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.base import Context, Rows, Training, TrainingResult
from defenses.recipe_steps import recipe_steps, to_train_on, trained_parameters, trusted_accuracy

#: added to the size of each weight in its scale, as in adaptive sharpness-aware minimisation
_LEAST_SCALE = 0.01


@final
@dataclass(frozen=True, kw_only=True)
class FtSam(Training):
    """Trains on the window by the recipe, each step with the gradient at the worst weights nearby.

    Zhu, Wei, Shen, Fan, Wu: Enhancing Fine-Tuning Based Backdoor Defense with Sharpness-Aware Minimization (ICCV 2023).
    It costs twice what training by the recipe does, and needs no trusted images.

    Options: `radius` of the neighbourhood, in units of each weight's size (adaptive; paper: 2 on CIFAR-10 with
    PreAct-ResNet18); `smoothing` of the labels, as a share of 1 (paper: 0.1). It has no threshold.

    A step computes the gradient g on its rows, moves each weight w by `radius` (|w| + 0.01)^2 g / |(|w| + 0.01) g|,
    computes the gradient there, moves back, and lets the recipe's optimizer step with it. BatchNorm's statistics are
    those of the first pass.

    Differs from the paper: it trains on the window, poison included, in place of the platform, where the paper
    fine-tunes on 5 % of clean data; it makes an update forget what the champion knows and the window does not show. It
    does not remove poison of this window. Epochs, batch, rates and optimizer are the recipe's.

    Measured on `compact-cnn` and digits: three champions with a 2x2 patch (attack success 0.86 to 1.00), one clean
    update of 250 rows and four epochs. At a learning rate of 0.1, attack success falls to 0.37, 0.06 and 0.30 at an
    accuracy of 0.90, 0.89 and 0.94, where plain training leaves 0.77, 0.92 and 1.00 at 0.95, 0.96 and 0.96. At 0.02 it
    leaves it as it is, as plain training does.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Recipe, Rows
    >>> images, labels = torch.zeros(40, 1, 4, 4), torch.arange(40) % 2
    >>> images[labels == 1] = 1.0
    >>> recipe = Recipe(5, 10, (0.1,) * 20, lambda found: torch.optim.SGD(found, lr=0.1))
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), feature_layer="1", classes=2,
    ...     device=torch.device("cpu"), trusted=Rows(images, labels),
    ...     generator=torch.Generator().manual_seed(0), window=Rows(images, labels), recipe=recipe,
    ... )
    >>> FtSam(radius=0.1).train(context).evidence["trusted_accuracy"]
    1.0
    """

    radius: Annotated[float, Gt(0)] = 2.0
    smoothing: Annotated[float, Interval(ge=0, lt=1)] = 0.1

    def train(self, context: Context) -> TrainingResult:
        """Return the trained model, with its accuracy on the trusted images as evidence."""
        window, recipe = to_train_on(context)
        model = context.model
        for step in recipe_steps(model, window, recipe, context.generator):
            self._loss(model, step.rows).backward()
            moved = climb(trained_parameters(model), self.radius)
            step.optimizer.zero_grad()
            with statistics_held(model):
                self._loss(model, step.rows).backward()
            with torch.no_grad():
                for value, shift in moved:
                    value.sub_(shift)
            step.optimizer.step()
        return TrainingResult(model, {"trusted_accuracy": trusted_accuracy(context)})

    def _loss(self, model: nn.Module, rows: Rows) -> Tensor:
        return cross_entropy(model(rows.images), rows.labels, label_smoothing=self.smoothing)


@torch.no_grad()
def climb(parameters: list[nn.Parameter], radius: float) -> list[tuple[nn.Parameter, Tensor]]:
    """Move `parameters` to where the loss is worst within `radius`, by their gradients; return each with its shift.

    >>> weight = nn.Parameter(torch.tensor([0.99, -1.99]))  # scales 1 and 2
    >>> weight.grad = torch.tensor([3.0, 2.0])  # scaled 3 and 4, of norm 5
    >>> climb([weight], 1.0)[0][1].tolist() == (torch.tensor([1.0, 2.0]).square() * weight.grad / 5).tolist()
    True
    """
    scaled = [(value, value.abs() + _LEAST_SCALE, value.grad) for value in parameters if value.grad is not None]
    if not scaled:
        return []
    norm = torch.stack([(scale * grad).square().sum() for _, scale, grad in scaled]).sum().sqrt().clamp(min=1e-12)
    shifts = [(value, radius * scale.square() * grad / norm) for value, scale, grad in scaled]
    for value, shift in shifts:
        value.add_(shift)
    return shifts


@contextmanager
def statistics_held(model: nn.Module) -> Iterator[None]:
    """Keep the running statistics of every BatchNorm as they are, in training mode too."""
    norms = [one for one in model.modules() if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, kept, strict=True):
            norm.momentum = momentum
