"""Whether a small change of stamped images reactivates a backdoor that the trigger alone no longer activates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.observer.probes.base import Probe, ProbeView, When
from simulator.observer.probes.shared import (
    NO_ATTACK,
    NOT_FINITE,
    finite,
    goals,
    source_classes,
    source_rows,
    stamped_logits,
    success_of,
    undefined,
    unstamped_logits,
)
from simulator.production.training.device import laid_out_for
from simulator.production.training.evaluate import evaluating, logits
from simulator.records import Reading
from simulator.scenario.bounds import Count, Positive, PositiveShare
from simulator.seeds import generator

_REACTIVATED = "backdoor/reactivated_attack_success"
_CONTROL = "backdoor/reactivated_untriggered_success"
_GAIN = "backdoor/reactivation_gain"


@final
@dataclass(kw_only=True)
class Reactivation(Probe):
    """Attack success of trigger and one universal perturbation together, and what the perturbation does alone.

    One perturbation of the size of an image, at most `size` (of the range [0, 1]) in each value, is trained for
    `steps` signed-gradient steps of length `rate` on batches of `batch` *stamped* test images towards the target,
    starting from none; the control is trained alike, in the same order, on the same images *unstamped*. Both are read
    on test images that neither saw: attack success in [0, 1] of stamped images with the one, share of unstamped
    source images with the other that get the target, and their difference in [-1, 1]. `images` are trained on, spread
    evenly over the source classes (the first of each class), at most half of a class; all others are read.

    Undefined: without an attack, where a source class has no second image, with outputs that are not finite.

    Source: Zhu, Liang, Wu ("Breaking the False Sense of Security in Backdoor Defense through Re-Activation Attack",
    NeurIPS 2024): white-box attack with a universal perturbation on triggered images, and its control, a universal
    perturbation on untriggered ones (Moosavi-Dezfooli, Fawzi, Fawzi, Frossard, CVPR 2017). Deviations: cross-entropy
    alone and signed steps where they add terms and iterate 50 x 5 steps; 500 images where they take 1,000.

    Read it beside `backdoor/attack_success` (the trigger alone) and the twin's: any model can be fooled by some
    perturbation, and a never-poisoned one shows how easily.

    Cost: 2 x `steps` forward and backward passes of `batch` images, 2 forward passes of the test part. By default at
    the milestones.

    >>> from simulator.batch import Batch
    >>> images = torch.eye(3).repeat(4, 1).reshape(12, 1, 1, 3)  # the model's answer is the brightest of three pixels
    >>> test = Batch(images, torch.arange(12) % 3, torch.arange(12))
    >>> view = ProbeView(nn.Flatten(), test, 3, stamped=lambda opacity: images + 0.9 * images[:1], target=0)
    >>> readings = Reactivation(size=0.2, steps=30).measure(view)
    >>> [readings[f"backdoor/reactivated_{kind}_success"].value for kind in ("attack", "untriggered")]
    [1.0, 0.0]
    """

    gives: ClassVar[tuple[str, ...]] = (_REACTIVATED, _CONTROL, _GAIN)

    size: PositiveShare = 0.05
    steps: Count = 50
    rate: Positive = 0.01
    images: Count = 500
    batch: Count = 100
    when: When = "milestones"

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        """Return attack success with trigger and perturbation, the control's, and their difference."""
        if view.stamped is None:
            return undefined(self.gives, NO_ATTACK)
        if not finite(stamped_logits(view), unstamped_logits(view)):
            return undefined(self.gives, NOT_FINITE)
        rows, held_out = self._parts(view)
        if not len(rows):
            return undefined(self.gives, "there are too few test images of the source classes to hold some out")
        both = view.stamped(1.0), view.test.images
        success, control = (self._success(view, shown, rows, held_out) for shown in both)
        if success.value is None or control.value is None:
            gain = success if success.value is None else control
        else:
            gain = Reading.of(success.value - control.value)
        return {_REACTIVATED: success, _CONTROL: control, _GAIN: gain}

    def _parts(self, view: ProbeView) -> tuple[Tensor, Tensor]:
        """Return the rows to train on and, of the same classes, the rows to read."""
        labels, sources = view.test.labels, source_classes(view)
        fewest = min((count for k in sources if (count := int((labels == k).sum()))), default=0)
        rows = source_rows(view, min(self.images, fewest // 2 * len(sources))) if fewest > 1 else labels.new_empty(0)
        held_out = torch.isin(labels, torch.tensor(sources, device=labels.device))
        held_out[rows] = False
        return rows, held_out.nonzero().flatten()

    def _success(self, view: ProbeView, shown: Tensor, rows: Tensor, held_out: Tensor) -> Reading:
        change = self._perturbation(view, shown[rows], goals(view, view.test.labels[rows]))
        return success_of(view, logits(view.model, (shown[held_out] + change).clamp(0, 1)), held_out)

    def _perturbation(self, view: ProbeView, images: Tensor, wanted: Tensor) -> Tensor:
        change = torch.zeros_like(images[:1])
        order = generator(view.seed, "reactivation")
        with evaluating(view.model):
            for rows in _batches(len(images), self.batch, self.steps, order):
                mine = rows.to(images.device)
                gradient = _gradient(view.model, images[mine], change, wanted[mine])
                change = (change - self.rate * gradient.sign()).clamp(-self.size, self.size)
        return change


def _batches(count: int, batch: int, steps: int, order: torch.Generator) -> Iterator[Tensor]:
    """Yield `steps` batches of rows, reshuffled whenever all have been used."""
    waiting: list[Tensor] = []
    for _ in range(steps):
        waiting = waiting or list(torch.randperm(count, generator=order).split(batch))
        yield waiting.pop(0)


def _gradient(model: nn.Module, images: Tensor, change: Tensor, wanted: Tensor) -> Tensor:
    """Return the gradient (1, C, H, W) with respect to `change` of the summed cross-entropy to `wanted`.

    As if values were not clamped to [0, 1]: otherwise black pixels, at the edge of the range, would have no gradient.
    """
    with torch.enable_grad():
        shown = (images + change).clamp(0, 1).requires_grad_(True)
        loss = functional.cross_entropy(model(laid_out_for(model, shown)), wanted, reduction="sum")
        return torch.autograd.grad(loss, shown)[0].sum(0, keepdim=True)
