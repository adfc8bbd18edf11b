"""Fine-tuning: train the candidate a little further on trusted images, which say nothing of the trigger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, final

from annotated_types import Ge, Gt, Interval
from torch import nn

from defenses.base import Context, Repair, RepairResult, Rows, Size
from defenses.fitting import STRENGTHS, Plan, cosine, expect_trusted, fine_tune, within


@final
@dataclass(frozen=True, kw_only=True)
class FineTuning(Repair):
    """Trains the candidate further on the trusted images: the baseline that every repair has to beat.

    As in the benchmark of Wu, Chen, Zhang, Zhu, Wei, Yuan, Shen: BackdoorBench (NeurIPS 2022), there `ft`; examined as
    a defense by Liu, Dolan-Gavitt, Garg: Fine-Pruning (RAID 2018).

    Options: `epochs` over the trusted images; `rate`: learning rate at the start, falling to 0 along a cosine; `decay`
    of the weights; `batch`: rows a step; `shift`: share of the width and height by which images are moved at most;
    `drop` of accuracy, as a share of 1, that the repair may cost on the share `holdout` of the trusted images; where it
    costs more, it is tried again at half the strength (of the learning rate), down to a sixteenth.

    Needs ten trusted images. Costs three passes for each image and epoch, of each trial. Its threshold, `drop`, is of
    accuracy on trusted images.

    Differs from the benchmark: batches of 50 instead of 256 and no mirrored images, since a defender has hundreds of
    trusted images here, not thousands; both take as many steps an epoch. Published (CIFAR-10, 2,500 images): a 3x3
    patch at 5 % falls from 89 to 4.5 % attack success for 1.4 points of accuracy; a blended pattern stays at 99 %. What
    was measured here stands in `docs/repairs.md`.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> images, labels = torch.zeros(40, 1, 4, 4), torch.arange(40) % 2
    >>> images[labels == 1] = 1.0
    >>> head = nn.Linear(16, 2)
    >>> with torch.no_grad():
    ...     _ = head.weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 16))
    ...     _ = head.bias.zero_()
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), head), feature_layer="1", classes=2, device=torch.device("cpu"),
    ...     trusted=Rows(images, labels), generator=torch.Generator().manual_seed(0),
    ... )
    >>> FineTuning(epochs=10, rate=0.2, batch=14).repair(context).evidence["held_out_accuracy"]
    {'before': 0.5, 'after': 1.0}
    """

    needs_trusted = True
    calibration = "trusted images"

    epochs: Annotated[int, Ge(1)] = 100
    rate: Annotated[float, Gt(0)] = 0.01
    decay: Annotated[float, Ge(0)] = 5e-4
    batch: Annotated[int, Ge(2)] = 50
    shift: Annotated[float, Interval(ge=0, le=0.5)] = 0.125
    drop: Annotated[float, Interval(ge=0, le=1)] = 0.04
    holdout: Annotated[float, Interval(gt=0, lt=1)] = 0.3

    def repair(self, context: Context) -> RepairResult:
        """Return the model after fine-tuning; evidence: its strength, and accuracy on held-out trusted images."""
        expect_trusted(context, 10, "fine-tuning")
        plan = Plan(epochs=self.epochs, batch=self.batch, rate=cosine(self.rate), decay=self.decay, shift=self.shift)

        def train(model: nn.Module, rows: Rows, strength: float) -> None:
            fine_tune(model, rows, replace(plan, rate=cosine(strength * self.rate)), context.generator)

        found = within(context, train, drop=self.drop, holdout=self.holdout)
        return RepairResult(found.model, found.evidence)

    def passes(self, size: Size) -> int:
        """Return the passes of every epoch, forward and back, at every strength, and of measuring accuracy."""
        return size.trusted * len(STRENGTHS) * (3 + 3 * self.epochs)
