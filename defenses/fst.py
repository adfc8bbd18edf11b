"""Feature shift tuning: learn a new last layer that points away from the old one, and features that suit it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.base import Context, DoesNotApply, Repair, RepairResult, Rows, Size
from defenses.fitting import STRENGTHS, Plan, cosine, expect_trusted, fine_tune, within


@final
@dataclass(frozen=True, kw_only=True)
class FeatureShiftTuning(Repair):
    """Draws the last layer anew and fine-tunes all layers, while the last one is pushed away from what it was.

    Min, Qin, Shen, Cheng: Towards Stable Backdoor Purification through Feature Shift Tuning (NeurIPS 2023), called FST.

    Options: `push`: weight of the inner product of the new and the old last layer in the loss; `epochs` over the
    trusted images; `rate`: learning rate at the start, falling to 0 along a cosine; `batch`: rows a step; `shift`:
    share of the width and height by which images are moved at most; `drop` of accuracy, as a share of 1, that the
    repair may cost on the share `holdout` of the trusted images; where it costs more, it is tried again at half the
    strength (of the push), down to a sixteenth.

    After each step the last layer gets the length it had before the repair, since the inner product alone could be made
    as small as one likes by longer weights.

    Needs ten trusted images, and a network whose feature layer is an `nn.Linear`. Costs three passes for each image and
    epoch, of each trial. Its threshold, `drop`, is of accuracy on trusted images.

    Differs from the paper: 100 epochs instead of 10, after which the new last layer of a small network is still
    untrained (accuracy on digits fell by 70 points); images are moved, not mirrored; a weight decay of 5e-4. What was
    measured here stands in `docs/repairs.md`.

    >>> from torch import nn
    >>> rows = Rows(torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2)
    >>> head = nn.Linear(16, 2)
    >>> length = float(head.weight.detach().norm())
    >>> context = Context(
    ...     nn.Sequential(nn.Flatten(), head), "1", 2, torch.device("cpu"), rows, torch.Generator().manual_seed(0)
    ... )
    >>> result = FeatureShiftTuning(epochs=2, drop=1.0).repair(context)
    >>> abs(float(result.model.get_submodule("1").weight.detach().norm()) - length) < 1e-5
    True
    """

    needs_trusted = True
    calibration = "trusted images"

    push: Annotated[float, Ge(0)] = 0.2
    epochs: Annotated[int, Ge(1)] = 100
    rate: Annotated[float, Gt(0)] = 0.01
    batch: Annotated[int, Ge(2)] = 50
    shift: Annotated[float, Interval(ge=0, le=0.5)] = 0.125
    drop: Annotated[float, Interval(ge=0, le=1)] = 0.04
    holdout: Annotated[float, Interval(gt=0, lt=1)] = 0.3

    def repair(self, context: Context) -> RepairResult:
        """Return the tuned model; evidence: the cosine of the new and the old last layer, strength and accuracy."""
        expect_trusted(context, 10, "feature shift tuning")
        old = _head(context.model, context.feature_layer).weight.detach().clone()

        def train(model: nn.Module, rows: Rows, strength: float) -> None:
            self._shift(model, _head(model, context.feature_layer), rows, strength * self.push, context.generator)

        found = within(context, train, drop=self.drop, holdout=self.holdout)
        new = _head(found.model, context.feature_layer).weight.detach()
        likeness = torch.cosine_similarity(new.flatten(), old.flatten(), dim=0)
        return RepairResult(found.model, {"cosine": round(float(likeness), 4), **found.evidence})

    def passes(self, size: Size) -> int:
        """Return the passes of every epoch, forward and back, at every strength, and of measuring accuracy."""
        return size.trusted * len(STRENGTHS) * (3 + 3 * self.epochs)

    def _shift(self, model: nn.Module, head: nn.Linear, rows: Rows, push: float, generator: torch.Generator) -> None:
        old = head.weight.detach().clone()
        _draw(head, generator)

        def loss(some: Rows) -> Tensor:
            return cross_entropy(model(some.images), some.labels) + push * (head.weight * old).sum()

        @torch.no_grad()
        def keep_length() -> None:
            head.weight.mul_(old.norm() / head.weight.norm().clamp(min=1e-12))

        plan = Plan(epochs=self.epochs, batch=self.batch, rate=cosine(self.rate), shift=self.shift)
        fine_tune(model, rows, plan, generator, loss=loss, after_step=keep_length)


def _head(model: nn.Module, name: str) -> nn.Linear:
    layer = model.get_submodule(name)
    if not isinstance(layer, nn.Linear):
        raise DoesNotApply("feature shift tuning needs a network whose feature layer is an nn.Linear")
    return layer


@torch.no_grad()
def _draw(head: nn.Linear, generator: torch.Generator) -> None:
    """Initialise the layer as torch does: uniform, within one over the root of its inputs."""
    bound = 1 / math.sqrt(head.in_features)
    for tensor in (head.weight, head.bias):
        if tensor is not None:
            tensor.copy_(bound * (2 * torch.rand(tensor.shape, generator=generator) - 1))
