"""Trigger reversal: one mask and pattern for each target class and start, optimised side by side in one batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.stamping import under_each

#: opacity of every pixel at the start
_OPACITY = 0.2
#: how fast the weight of the mask's norm grows by success, and falls by failure, a step
_UP, _DOWN = 1.084, 1.129
#: first weight of the mask's norm, and its bounds
_WEIGHT, _LEAST, _MOST = 1e-2, 1e-5, 1.0
#: share of the past in the running success rate
_MEMORY = 0.7
#: Adam's: shares of the past in the mean and the mean square of gradients, and what keeps it from dividing by 0
_MEAN, _SQUARE, _TINY = 0.5, 0.9, 1e-8
#: a mask is smaller when it is by this share
_SMALLER = 0.01


@final
@dataclass(frozen=True, slots=True)
class Reversed:
    """For each class the `norms` (classes,) in pixels of its smallest mask that succeeded, and its trigger.

    `triggers` float32 (classes, 1 + C, H, W): the mask and the pattern. A class without success has the image's area
    and NaN. `passes` that the search made: forward and back counts as three.
    """

    norms: Tensor
    triggers: Tensor
    passes: int

    @property
    def images(self) -> Tensor:
        """The triggers as images (classes, C, H, W): pattern times mask."""
        return self.triggers[:, :1] * self.triggers[:, 1:]

    def pixels(self) -> NDArray[np.float64]:
        """Return `norms`, at least a thousandth of a pixel each."""
        return self.norms.clamp(min=1e-3).double().cpu().numpy()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Searches the smallest trigger of each class.

    `restarts`: independent starts a class; `steps` of optimisation; `patience`: steps without a mask smaller by 1 %
    after which a class is done; `batch`: images a step; `rate`: learning rate of Adam; `success`: share of images that
    a trigger must move to its class. After a quarter of the steps the better half of each class's starts goes on, after
    another quarter the better half of those, and so on down to one.
    """

    restarts: int
    steps: int
    patience: int
    batch: int
    rate: float
    success: float

    @classmethod
    def of(cls, defense: object) -> Search:
        """Return the search that the options of `defense`, which are called as the fields here, ask for."""
        return cls(**{field.name: getattr(defense, field.name) for field in fields(cls)})

    def passes(self, classes: int) -> int:
        """Return the passes of all steps, forward and back."""
        return 3 * self.batch * classes * sum(self._starts(step) for step in range(self.steps))

    def run(self, model: nn.Module, images: Tensor, classes: int, generator: torch.Generator) -> Reversed:
        """Return each class's smallest trigger in `model`, which is left in eval mode and without gradients."""
        targets = torch.arange(classes, device=images.device)
        return self._searched(model, images, targets, generator).found(classes)

    def of_class(self, model: nn.Module, images: Tensor, target: int, generator: torch.Generator) -> Reversed:
        """Return the smallest trigger of the class `target` alone, as `run` does those of all."""
        return self._searched(model, images, torch.tensor([target], device=images.device), generator).found(1)

    def _searched(self, model: nn.Module, images: Tensor, classes: Tensor, generator: torch.Generator) -> Triggers:
        model.eval().requires_grad_(False)
        targets = classes.repeat(self.restarts)
        triggers = Triggers(targets, images.shape[1:], self.rate, generator)
        for step in range(self.steps):
            triggers.keep_best(self._starts(step))
            if self._starts(step) == 1:
                triggers.stop_settled(self.patience)
            if not triggers.left:
                break
            drawn = torch.randint(len(images), (self.batch,), generator=generator).to(images.device)
            triggers.step(model, images[drawn], self.success)
        return triggers

    def _starts(self, step: int) -> int:
        """Return how many starts of a class are optimised in `step`: half as many each quarter of the steps."""
        return max(1, self.restarts >> (4 * step // self.steps))


@final
class Triggers:
    """Searches a small trigger for each of `targets` (T,).

    What is optimised, and what Adam remembers of it, holds only the triggers that go on (`_going`, indices of the T);
    the best of each is kept for all.
    """

    def __init__(self, targets: Tensor, shape: torch.Size, rate: float, generator: torch.Generator) -> None:
        channels, height, width = shape
        drawn = torch.rand(len(targets), 1 + channels, height, width, generator=generator) - 0.5
        drawn[:, 0] += math.log(_OPACITY / (1 - _OPACITY)) / 2
        self._targets, self._rate, self._steps, self.passes = targets, rate, 0, 0
        self._going = torch.arange(len(targets), device=targets.device)
        self._raw = drawn.to(targets.device)
        self._mean, self._square = torch.zeros_like(self._raw), torch.zeros_like(self._raw)
        self._weight = torch.full(targets.shape, _WEIGHT, device=targets.device)
        self._success = torch.zeros(targets.shape, device=targets.device)
        self._area = float(height * width)
        self._norms = torch.full(targets.shape, self._area, device=targets.device)
        self._losses = torch.zeros(targets.shape, device=targets.device)
        self._best = torch.full((len(targets), 1 + channels, height, width), torch.nan, device=targets.device)
        self._since = torch.zeros(targets.shape, device=targets.device, dtype=torch.long)

    @property
    def left(self) -> int:
        """How many triggers go on."""
        return len(self._going)

    def step(self, model: nn.Module, images: Tensor, success: float) -> None:
        """Take one step of Adam on `images` (B, C, H, W) and note which masks are the smallest that succeeded."""
        raw = self._raw.requires_grad_()
        triggers = torch.sigmoid(2 * raw)
        labels = self._targets[self._going].repeat_interleave(len(images))
        logits = model(under_each(images, triggers).flatten(0, 1))
        losses = cross_entropy(logits, labels, reduction="none").view(self.left, -1).mean(1)
        norms = triggers[:, :1].sum((1, 2, 3))
        (gradient,) = torch.autograd.grad((losses + self._weight * norms).sum(), raw)
        self._steps, self.passes = self._steps + 1, self.passes + 3 * len(labels)
        self._descend(gradient)
        hits = (logits.argmax(1) == labels).view(self.left, -1).float().mean(1)
        self._success = _MEMORY * self._success + (1 - _MEMORY) * hits
        steady = self._success >= success
        self._weight = torch.where(steady, self._weight * _UP, self._weight / _DOWN).clamp(_LEAST, _MOST)
        self._losses[self._going] = losses.detach()
        self._note(steady & (hits >= success), norms.detach(), triggers.detach())

    def keep_best(self, starts: int) -> None:
        """Go on with the best `starts` triggers of each class: smallest that succeeded, else of least loss."""
        targets = self._targets[self._going]
        most = int(targets.bincount().amax()) if self.left else 0
        if most <= starts:
            return
        unmoved = self._norms >= self._area
        order = torch.where(unmoved, self._area + self._losses, self._norms)[self._going]
        same = targets[:, None] == targets[None, :]
        better = order[None, :] < order[:, None]
        earlier = (order[None, :] == order[:, None]) & (self._going[None, :] < self._going[:, None])
        self._go_on((same & (better | earlier)).sum(1) < starts)

    def stop_settled(self, patience: int) -> None:
        """End the triggers that succeeded and whose mask has not become smaller in the last `patience` steps."""
        succeeded = self._norms[self._going] < self._area
        self._go_on(~(succeeded & (self._steps - self._since[self._going] >= patience)))

    def found(self, classes: int) -> Reversed:
        """Return the smallest trigger of each of so many `classes`; targets are these in turn, once for each start."""
        best = self._norms.view(-1, classes).argmin(0) * classes + torch.arange(classes, device=self._norms.device)
        return Reversed(self._norms[best], self._best[best], self.passes)

    def _descend(self, gradient: Tensor) -> None:
        self._mean = _MEAN * self._mean + (1 - _MEAN) * gradient
        self._square = _SQUARE * self._square + (1 - _SQUARE) * gradient.square()
        mean, square = self._mean / (1 - _MEAN**self._steps), self._square / (1 - _SQUARE**self._steps)
        self._raw = self._raw.detach() - self._rate * mean / (square.sqrt() + _TINY)

    def _note(self, reached: Tensor, norms: Tensor, triggers: Tensor) -> None:
        before = self._norms[self._going]
        smaller = reached & (norms < before)
        rows = self._going[smaller]
        self._since[self._going[reached & (norms < (1 - _SMALLER) * before)]] = self._steps
        self._norms[rows], self._best[rows] = norms[smaller], triggers[smaller]

    def _go_on(self, rows: Tensor) -> None:
        if not bool(rows.all()):
            self._going, self._raw = self._going[rows], self._raw[rows]
            self._mean, self._square = self._mean[rows], self._square[rows]
            self._weight, self._success = self._weight[rows], self._success[rows]
