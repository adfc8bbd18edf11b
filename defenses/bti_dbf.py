"""BTI-DBF: what an image can be changed in without touching its benign features leads to the backdoor's target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.base import Context, DoesNotApply, Inspector, InspectorResult, Rows, Size, Threshold
from defenses.fitting import expect_trusted
from defenses.stamping import under_each
from defenses.unusual import p_values_low

#: learning rate of the features' mask, images in its steps, and opacity of every pixel of a trigger at the start
_MASK_RATE, _MASK_BATCH, _OPACITY = 0.01, 128, 0.05
#: weight of what moves in the benign features, while that stays within its bound
_BENIGN = 0.01


@final
@dataclass(frozen=True, kw_only=True)
class BtiDbf(Inspector):
    """Separates benign features from the rest, reverses one trigger that moves the rest, and asks where it leads.

    Xu, Huang, Li, Qin, Ren: Towards Reliable and Efficient Backdoor Trigger Inversion via Decoupling Benign Features
    (ICLR 2024). A mask over the features is fitted on the trusted images: what it keeps shall be classified rightly,
    what it takes away wrongly. Then a trigger is sought that moves what it takes away as far as possible, while the
    image and the features it keeps stay near. No class is chosen beforehand, so it costs a sixth of `neural-cleanse`.

    Options: `false_positive_rate` of a look; `norm_bound`: mean square that an image may change by, as a share of the
    variance of the trusted images; `feature_bound`: mean square of the change of the benign features, as a share of
    that between two trusted images; `mask_steps` of fitting the mask; `restarts`: independent starts, of which the one
    that moves most counts; `steps` of optimisation; `batch`: trusted images a step; `rate`: learning rate of Adam.

    Differs from the paper: one opacity and pattern for all images instead of a U-Net that draws one for each, which
    takes thousands of images; bounds relative to the data. The paper names the class that most images then go to,
    without judging whether there is a backdoor. Here a model is flagged when the mean gain of that class's logit, over
    images of other classes, is so large beside the gains of the other classes that it has at most the probability
    `false_positive_rate`, if they are normally distributed (Grubbs' test). Its threshold is that
    probability, of gains that the trusted images give. Skipped without a linear last layer, with fewer than 20 trusted
    images or four classes.

    It does not work on the small networks here, whose other features can be moved in many ways. Measured on
    `compact-cnn`, a white patch (3x3, 2x2 on digits) on 5 % of the base window, models that chose no option, another
    target each: flagged, with the right class, were 1 of 5 planted models on Fashion-MNIST, none of 5 on digits (two
    with a wrong class) and none of 3 on CIFAR-10; of 13 clean ones at least 1. At most 21,700 passes with 500
    trusted images: 1 to 1.5 s of the processor.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
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
    >>> result = BtiDbf().inspect(context)
    >>> result.flagged, result.evidence["suspect"]
    (True, 3)
    """

    needs_trusted = True
    calibration = "trusted images"
    threshold_option = Threshold("false_positive_rate", of="p_value", flags="below")

    false_positive_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.01
    norm_bound: Annotated[float, Gt(0)] = 0.3
    feature_bound: Annotated[float, Gt(0)] = 1.0
    mask_steps: Annotated[int, Ge(1)] = 300
    restarts: Annotated[int, Ge(1)] = 4
    steps: Annotated[int, Ge(1)] = 100
    batch: Annotated[int, Ge(1)] = 16
    rate: Annotated[float, Gt(0)] = 0.2

    def inspect(self, context: Context) -> InspectorResult:
        """Return the verdict; the score is -log10 of the test's probability."""
        trusted = expect_trusted(context, 20, "BTI-DBF")
        model, head = context.model.eval().requires_grad_(False), context.model.get_submodule(context.feature_layer)
        if context.classes < 4 or not isinstance(head, nn.Linear):
            raise DoesNotApply("BTI-DBF needs a linear last layer and at least four classes")
        features = context.features(trusted.images)
        mask = benign_mask(head, Rows(features, trusted.labels), self.mask_steps, context.generator)
        triggers = self._inverted(_Moves(model, head, mask, features, context.generator), trusted.images, context)
        moved = [context.features(under_each(trusted.images, trigger[None])[0]) for trigger in triggers]
        farthest = max(moved, key=lambda one: float(((1 - mask) * (one - features)).square().mean()))
        gains, went = _led(head(features), head(farthest), trusted.labels)
        suspect = int(went.argmax())
        chance = max(float(p_values_low(-gains.double().cpu().numpy())[suspect]), 1e-300)
        score, threshold = -math.log10(chance), -math.log10(self.false_positive_rate)
        evidence = {
            "suspect": suspect if score > threshold else None,
            "p_value": chance,
            "moved_to_suspect": round(float(went[suspect]), 4),
            "logit_gains": [round(gain, 4) for gain in gains.tolist()],
        }
        return InspectorResult(score > threshold, score, threshold, evidence, class_scores=gains)

    def passes(self, size: Size) -> int:
        """Return the passes of all steps, forward and back, and those over all trusted images."""
        return 3 * self.steps * self.batch * self.restarts + size.trusted * (1 + self.restarts)

    def _inverted(self, moves: _Moves, images: Tensor, context: Context) -> Tensor:
        """Return the triggers (restarts, 1 + C, H, W) as opacity and pattern."""
        shape = (self.restarts, 1 + images.shape[1], *images.shape[2:])
        raw = torch.rand(shape, generator=context.generator) - 0.5
        raw[:, 0] += math.log(_OPACITY / (1 - _OPACITY)) / 2
        raw = raw.to(images.device).requires_grad_()
        optimizer = torch.optim.Adam([raw], lr=self.rate, betas=(0.5, 0.9))
        bound = self.norm_bound * max(float(images.var(0).mean()), 1e-6)
        for _ in range(self.steps):
            drawn = torch.randint(len(images), (self.batch,), generator=context.generator).to(images.device)
            stamped = under_each(images[drawn], torch.sigmoid(2 * raw))
            rest, benign = moves.of(stamped, drawn)
            size = (stamped - images[drawn]).square().mean((1, 2, 3, 4)) / bound
            outside = (size > 1) | (benign > self.feature_bound)
            optimizer.zero_grad()
            torch.where(outside, size, _BENIGN * benign - rest).sum().backward()
            optimizer.step()
        return torch.sigmoid(2 * raw.detach())


class _Moves:
    """How far changed images move a model's features, beside how far two trusted images lie apart."""

    def __init__(self, model: nn.Module, head: nn.Module, mask: Tensor, features: Tensor, draw: Generator) -> None:
        self._model, self._head, self._mask, self._features = model, head, mask, features
        apart = features - features[torch.randperm(len(features), generator=draw).to(features.device)]
        self._rest = ((1 - mask) * apart).square().mean().clamp(min=1e-12)
        self._benign = (mask * apart).square().mean().clamp(min=1e-12)

    def of(self, stamped: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squares (T,) for images (T, N, C, H, W) of these rows: of the rest, and benign features."""
        found: list[Tensor] = []
        hook = self._head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].flatten(1)))
        try:
            self._model(stamped.flatten(0, 1))
        finally:
            hook.remove()
        moved = found[0].view(*stamped.shape[:2], -1) - self._features[rows]
        rest, benign = ((1 - self._mask) * moved).square(), (self._mask * moved).square()
        return rest.mean((1, 2)) / self._rest, benign.mean((1, 2)) / self._benign


def benign_mask(head: nn.Module, features: Rows, steps: int, generator: Generator) -> Tensor:
    """Return the mask (D,) in [0, 1] with which `head` is right on `features`, and wrong on what it takes away."""
    raw = torch.randn(features.images.shape[1], generator=generator).to(features.images.device).requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=_MASK_RATE)
    for _ in range(steps):
        drawn = torch.randint(len(features), (_MASK_BATCH,), generator=generator).to(raw.device)
        some, mask = features.take(drawn), torch.sigmoid(2 * raw)
        kept, taken = head(mask * some.images), head((1 - mask) * some.images)
        optimizer.zero_grad()
        (cross_entropy(kept, some.labels) - cross_entropy(taken, some.labels)).backward()
        optimizer.step()
    return torch.sigmoid(2 * raw.detach())


def _led(before: Tensor, after: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each class, over rows of the others, the mean gain of its logit and the share that is taken for it.

    >>> before, after = torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 3.0], [0.0, 5.0]])
    >>> _led(before, after, torch.tensor([0, 0]))
    (tensor([0., 4.]), tensor([0., 1.]))
    """
    classes = torch.arange(before.shape[1], device=labels.device)
    others = (labels[:, None] != classes).float()
    count = others.sum(0).clamp(min=1)
    led = (after.argmax(1)[:, None] == classes) * others
    return ((after - before) * others).sum(0) / count, led.sum(0) / count
