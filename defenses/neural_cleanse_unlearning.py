"""Neural Cleanse as a repair: find the class with an abnormally small trigger, and unlearn that trigger."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Annotated, Any, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.base import Context, Repair, RepairResult, Rows, Size
from defenses.fitting import STRENGTHS, Plan, cosine, expect_trusted, fine_tune, within
from defenses.neural_cleanse import NeuralCleanse
from defenses.reversed_triggers import Search
from defenses.stamping import stamped


@final
@dataclass(frozen=True, kw_only=True)
class NeuralCleanseUnlearning(Repair):
    """Has Neural Cleanse name a suspect class, reverses its trigger, and trains on right labels under that trigger.

    Wang, Yao, Shan, Li, Viswanath, Zheng, Zhao: Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural
    Networks (IEEE S&P 2019), section VI C.

    Options: `share` of each batch that gets the trigger, with its label unchanged; `steps` of reversing the trigger;
    `epochs` over the trusted images; `rate`: learning rate at the start, falling to 0 along a cosine; `batch`: rows a
    step; `shift`: share of the width and height by which images are moved at most; `drop` of accuracy, as a share of 1,
    that the repair may cost on the share `holdout` of the trusted images; where it costs more, it is tried again at
    half the strength (of the learning rate), down to a sixteenth. The suspect is `neural-cleanse`'s, by its own
    defaults; where it suspects no class, or no trigger is found anew, the model is left as it is.

    Needs ten trusted images and four classes. Costs what `neural-cleanse` costs, and three passes for each image and
    epoch. Its threshold is that of `neural-cleanse`; `drop` is of accuracy on trusted images.

    Differs from the paper: 20 epochs over hundreds of images instead of one over a tenth of the training data; images
    are moved; the trigger that is unlearned is reversed anew, for the suspect alone. Published (CIFAR-10, 2,500
    images): a 3x3 patch at 5 % falls from 89 to 1.2 % attack success for 2.7 points of accuracy; blended and dynamic
    patterns are not suspected and stay. What was measured here stands in `docs/repairs.md`.

    >>> head = nn.Linear(16, 5)
    >>> with torch.no_grad():
    ...     _ = head.bias.zero_()
    ...     _ = head.weight.copy_(torch.eye(5, 16))  # class n is the brightness of pixel n
    ...     head.weight[3, 15] = 20.0  # and pixel 15 decides for class 3 alone
    >>> images, labels = torch.zeros(20, 1, 4, 4), torch.arange(20) % 5
    >>> images.view(20, 16)[torch.arange(20), labels] = 1.0
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), head), feature_layer="1", classes=5, device=torch.device("cpu"),
    ...     trusted=Rows(images, labels), generator=torch.Generator().manual_seed(0),
    ... )
    >>> NeuralCleanseUnlearning(epochs=2).repair(context).evidence["suspect"]
    3
    """

    needs_trusted = True
    calibration = NeuralCleanse.calibration

    share: Annotated[float, Interval(gt=0, le=1)] = 0.2
    steps: Annotated[int, Ge(1)] = 200
    epochs: Annotated[int, Ge(1)] = 20
    rate: Annotated[float, Gt(0)] = 0.01
    batch: Annotated[int, Ge(2)] = 50
    shift: Annotated[float, Interval(ge=0, le=0.5)] = 0.125
    drop: Annotated[float, Interval(ge=0, le=1)] = 0.04
    holdout: Annotated[float, Interval(gt=0, lt=1)] = 0.3

    def repair(self, context: Context) -> RepairResult:
        """Return the model without the suspect's trigger; evidence: Neural Cleanse's, its size, trusted accuracy."""
        trusted = expect_trusted(context, 10, "unlearning a reversed trigger")
        looked = NeuralCleanse().inspect(replace(context, model=copy.deepcopy(context.model)))
        evidence: dict[str, Any] = {"suspect": looked.evidence["suspect"], "score": looked.score}
        if looked.evidence["suspect"] is None:
            return RepairResult(context.model, evidence)
        suspect = int(looked.evidence["suspect"])
        copied = copy.deepcopy(context.model)
        smallest = self._search().of_class(copied, trusted.images, suspect, context.generator)
        trigger = smallest.triggers[0]
        if bool(trigger.isnan().any()):
            return RepairResult(context.model, evidence | {"trigger_pixels": None})
        evidence["trigger_pixels"] = round(float(smallest.norms[0]), 3)

        def train(model: nn.Module, rows: Rows, strength: float) -> None:
            self._unlearn(model, rows, strength * self.rate, (trigger[:1], trigger[1:]), context.generator)

        found = within(context, train, drop=self.drop, holdout=self.holdout)
        return RepairResult(found.model, evidence | found.evidence)

    def passes(self, size: Size) -> int:
        """Return the passes of Neural Cleanse, of reversing one trigger, and of every epoch at every strength."""
        trained = len(STRENGTHS) * size.trusted * (3 + 3 * self.epochs)
        return NeuralCleanse().passes(size) + self._search().passes(1) + trained

    def _search(self) -> Search:
        """Return the search of `neural-cleanse`, of as many steps as are wished."""
        return replace(Search.of(NeuralCleanse()), steps=self.steps)

    def _unlearn(
        self, model: nn.Module, rows: Rows, rate: float, trigger: tuple[Tensor, Tensor], generator: torch.Generator
    ) -> None:
        def loss(some: Rows) -> Tensor:
            count = max(1, round(self.share * len(some)))
            images = torch.cat([stamped(some.images[:count], *trigger), some.images[count:]])
            return cross_entropy(model(images), some.labels)

        plan = Plan(epochs=self.epochs, batch=self.batch, rate=cosine(rate), shift=self.shift)
        fine_tune(model, rows, plan, generator, loss=loss)
