"""STRIP: a trigger still decides the prediction when other images are blended over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
from annotated_types import Ge, Interval
from torch import Tensor

from defenses.base import Context, DoesNotApply, Screen, ScreenResult, Size, Threshold
from defenses.refusal import limit_of


@final
@dataclass(frozen=True, kw_only=True)
class Strip(Screen):
    """Refuses images whose predictions stay confident when trusted images are blended over them.

    Gao, Xu, Wang, Chen, Ranasinghe, Nepal: STRIP: A Defence Against Trojan Attacks on Deep Neural Networks (ACSAC
    2019).

    Options: `overlays`: trusted images blended over each incoming one, one at a time; `opacity` of an overlay, whose
    sum with the image is clipped at 1; `false_positive_rate` on clean images at which the threshold is set (paper:
    0.01); `threshold` of the score, which is minus the entropy in nats, in place of one set by trusted images.

    The trusted images are split into the overlays and the rest, whose entropies give the threshold: a clean image drawn
    like them is refused with at most the stated probability, on average over such splits, and the evidence says within
    which bounds the rate of this one threshold lies (`defenses.refusal`). Traffic that has drifted away from the
    trusted images may be refused more often. No incoming image influences the verdict on another. It costs `overlays`
    forward passes an image, and is skipped with fewer than `overlays` + 20 trusted images, or too few for the rate.

    Differs from the paper: 16 overlays instead of 100, and a rate of 5 % of clean images instead of 1 %, since a few
    hundred trusted images say little about 1 %; the threshold is a conformal quantile, not that of a fitted normal
    distribution. The paper misses less than 1 % of stamped images while it refuses 1 % of clean ones. Measured on
    `compact-cnn` with a white patch, five models each: attack success falls from 0.98 to between 0 and 0.02 on
    Fashion-MNIST, from 0.97 to between 0 and 0.11 on digits, from 0.91 to between 0.32 and 0.39 on CIFAR-10 (three
    models); 3 to 9 % of clean images are refused, 5.2 % on average over 26 models.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> head = nn.Linear(16, 2)
    >>> with torch.no_grad():
    ...     _ = head.bias.zero_()
    ...     _ = head.weight.zero_()
    ...     head.weight[0, 0], head.weight[1, 15] = 1.0, 9.0  # the last pixel decides, whatever the others say
    >>> generator = torch.Generator().manual_seed(0)
    >>> images = torch.rand(60, 1, 4, 4, generator=generator)
    >>> images[:, :, 3, 3] = 0.0
    >>> incoming = images[:3].clone()
    >>> incoming[0, :, 3, 3] = 1.0  # a trigger
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), head), feature_layer="1", classes=2, device=torch.device("cpu"),
    ...     trusted=Rows(images, torch.zeros(60, dtype=torch.long)), generator=generator, incoming=incoming,
    ... )
    >>> Strip().screen(context).flagged.tolist()
    [True, False, False]
    """

    needs_trusted = True
    calibration = "trusted images"
    threshold_option = Threshold("threshold", of="scores")

    overlays: Annotated[int, Ge(1)] = 16
    opacity: Annotated[float, Interval(gt=0, le=1)] = 1.0
    false_positive_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    threshold: float | None = None

    def screen(self, context: Context) -> ScreenResult:
        """Return which incoming images have less entropy than the threshold; score: minus the entropy in nats."""
        trusted, incoming = context.trusted.images, context.incoming
        if incoming is None or len(trusted) < self.overlays + 20:
            raise DoesNotApply(f"STRIP needs at least {self.overlays + 20} trusted images, there are {len(trusted)}")
        order = torch.randperm(len(trusted), generator=context.generator).to(trusted.device)
        overlays, held_out = trusted[order[: self.overlays]], trusted[order[self.overlays :]]
        limit = limit_of(-self._entropy(context, held_out, overlays), self.false_positive_rate, self.threshold)
        entropy = self._entropy(context, incoming, overlays)
        evidence = {**limit.evidence(), "mean_entropy": round(float(entropy.mean()), 6) if len(entropy) else None}
        return ScreenResult(limit.flagged(-entropy), scores=-entropy, evidence=evidence)

    def passes(self, size: Size) -> int:
        """Return the passes of every image under every overlay."""
        return self.overlays * (size.trusted + size.rows)

    def _entropy(self, context: Context, images: Tensor, overlays: Tensor) -> Tensor:
        """Return the mean entropy (N,) in nats of the predictions for each image under all overlays."""
        return entropy_under(context, images, overlays, self.opacity)


def entropy_under(context: Context, images: Tensor, overlays: Tensor, opacity: float) -> Tensor:
    """Return the mean entropy (N,) in nats of the predictions for each of `images` under all `overlays`.

    One overlay at a time is added at `opacity`, and the sum clipped at 1.

    >>> from torch import nn
    >>> from defenses.base import Rows
    >>> nothing = Rows(torch.zeros(0, 1, 2, 2), torch.zeros(0, dtype=torch.long))
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = nn.init.zeros_(model[1].weight)  # undecided between two classes: ln 2
    >>> context = Context(model, "1", 2, torch.device("cpu"), nothing, torch.Generator())
    >>> entropy_under(context, torch.rand(3, 1, 2, 2), torch.rand(2, 1, 2, 2), 1.0)
    tensor([0.6931, 0.6931, 0.6931])
    """
    total = torch.zeros(len(images), device=images.device)
    for overlay in overlays:
        logits = context.logits((images + opacity * overlay).clamp(0, 1)) if len(images) else total[:, None]
        log = logits.log_softmax(1)
        total = total - (log.exp() * log).sum(1)
    return total / len(overlays)
