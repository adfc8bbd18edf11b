"""Super-fine-tuning: fine-tuning whose learning rate swings high, to forget, and then low, to recover."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, final

from annotated_types import Ge, Gt, Interval
from torch import nn

from defenses.base import Context, Repair, RepairResult, Rows, Size
from defenses.fitting import STRENGTHS, Plan, Rate, constant, expect_trusted, fine_tune, within


@final
@dataclass(frozen=True, kw_only=True)
class SuperFineTuning(Repair):
    """Fine-tunes on the trusted images with a cyclic learning rate: high peaks first, low ones later.

    Sha, He, Berrang, Humbert, Zhang: Fine-Tuning Is All You Need to Mitigate Backdoor Attacks (arXiv 2212.09067, 2022).

    Options: `epochs` over the trusted images; `base`: learning rate between two peaks; `forget`: peak in the first
    phase, `recover`: peak in the second; `phase`: share of the epochs that the first phase takes; `half`: steps from
    the base to a peak, and as many back; `batch`: rows a step; `shift`: share of the width and height by which images
    are moved at most; `drop` of accuracy, as a share of 1, that the repair may cost on the share `holdout` of the
    trusted images; where it costs more, it is tried again at half the strength (of all rates), down to a sixteenth. No
    momentum and no weight decay.

    Needs ten trusted images. Costs three passes for each image and epoch, of each trial. Its threshold, `drop`, is of
    accuracy on trusted images.

    Differs from the paper: images are moved, not mirrored. The paper's rates are for CIFAR-10. What was measured here
    stands in `docs/repairs.md`.

    >>> rate = SuperFineTuning(half=2, base=0.1, forget=0.5, recover=0.2).cycle(20)
    >>> [round(rate(step / 20), 2) for step in (0, 1, 2, 3, 4, 8, 9, 10)]
    [0.1, 0.3, 0.5, 0.3, 0.1, 0.1, 0.15, 0.2]
    """

    needs_trusted = True
    calibration = "trusted images"

    epochs: Annotated[int, Ge(1)] = 100
    base: Annotated[float, Gt(0)] = 0.03
    forget: Annotated[float, Gt(0)] = 2.5
    recover: Annotated[float, Gt(0)] = 0.05
    phase: Annotated[float, Interval(ge=0, le=1)] = 0.4
    half: Annotated[int, Ge(1)] = 10
    batch: Annotated[int, Ge(2)] = 128
    shift: Annotated[float, Interval(ge=0, le=0.5)] = 0.125
    drop: Annotated[float, Interval(ge=0, le=1)] = 0.04
    holdout: Annotated[float, Interval(gt=0, lt=1)] = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base > min(self.forget, self.recover):
            raise ValueError(f"expected base to be at most forget and recover, got {self.base}; lower it")

    def repair(self, context: Context) -> RepairResult:
        """Return the model after fine-tuning; evidence: its strength, and accuracy on held-out trusted images."""
        expect_trusted(context, 10, "super-fine-tuning")
        plan = Plan(epochs=self.epochs, batch=self.batch, rate=constant(0.0), momentum=0.0, decay=0.0, shift=self.shift)

        def train(model: nn.Module, rows: Rows, strength: float) -> None:
            cycle = self.cycle(plan.steps(len(rows)))
            fine_tune(model, rows, replace(plan, rate=lambda share: strength * cycle(share)), context.generator)

        found = within(context, train, drop=self.drop, holdout=self.holdout)
        return RepairResult(found.model, found.evidence)

    def passes(self, size: Size) -> int:
        """Return the passes of every epoch, forward and back, at every strength, and of measuring accuracy."""
        return size.trusted * len(STRENGTHS) * (3 + 3 * self.epochs)

    def cycle(self, steps: int) -> Rate:
        """Return the learning rate of a training of so many steps."""

        def rate(share: float) -> float:
            place = round(share * steps) % (2 * self.half)
            height = 1 - abs(place - self.half) / self.half
            return self.base + ((self.forget if share < self.phase else self.recover) - self.base) * height

        return rate
