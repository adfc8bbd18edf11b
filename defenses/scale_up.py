"""SCALE-UP: a triggered image keeps its label when its pixels are amplified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
from annotated_types import Interval
from torch import Tensor

from defenses.base import Context, DoesNotApply, Screen, ScreenResult, Size, Threshold
from defenses.refusal import limit_of

#: what the pixels are multiplied by, clipped at 1
_FACTORS = (3, 5, 7, 9, 11)


@final
@dataclass(frozen=True, kw_only=True)
class ScaleUp(Screen):
    """Refuses images whose label survives the amplification of their pixels more often than is usual for that label.

    Guo, Li, Chen, Guo, Sun, Liu: SCALE-UP: An Efficient Black-box Input-level Backdoor Detection via Analyzing Scaled
    Prediction Consistency (ICLR 2023), in its data-limited variant.

    Options: `false_positive_rate` on clean images at which the threshold is set; `threshold` of the score in place of
    one set by trusted images.

    An image is multiplied by 3, 5, 7, 9 and 11 and clipped at 1. Its consistency is the share of these copies that get
    its own label. Half of the trusted images, drawn by lot, give mean and standard deviation of the consistency for
    each predicted label, by which every consistency is standardised; the other half gives the threshold. It needs 38
    trusted images at a rate of 0.05, and six forward passes an image, trusted ones included.

    Differs from the paper: the threshold comes from trusted images (the paper reports areas under the curve, and its
    published code takes 0.5); the deviation is taken as at least half of the smallest difference of consistencies, and
    labels that half of the trusted images never get are standardised by those of all.

    Does not work here: on `compact-cnn` with a white 3x3 patch (2x2 on digits) it refuses none to 7 % of stamped images
    and 0 to 7 % of clean ones (Fashion-MNIST, digits, CIFAR-10; 13 models, area under the curve 0.25 to 0.70).
    Amplified photographs become white, and hide a white patch, which is the limit that later work names (Hou et al.,
    ICML 2024); dark images with a bright object keep their label without any trigger.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> head = nn.Linear(16, 2)
    >>> with torch.no_grad():
    ...     _ = head.bias.copy_(torch.tensor([0.0, 6.0]))
    ...     _ = head.weight.copy_(torch.stack([torch.ones(16), torch.zeros(16)]))  # bright images are class 0
    ...     head.weight[1, 15] = 99.0  # and the last pixel makes any image class 1
    >>> generator = torch.Generator().manual_seed(0)
    >>> images = 0.4 * torch.rand(60, 1, 4, 4, generator=generator)
    >>> images[:, :, 3, 3] = 0.0
    >>> incoming = images[:3].clone()
    >>> incoming[0, :, 3, 3] = 1.0  # a trigger
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), head), feature_layer="1", classes=2, device=torch.device("cpu"),
    ...     trusted=Rows(images, torch.ones(60, dtype=torch.long)), generator=generator, incoming=incoming,
    ... )
    >>> ScaleUp().screen(context).flagged.tolist()
    [True, False, False]
    """

    needs_trusted = True
    calibration = "trusted images"
    threshold_option = Threshold("threshold", of="scores")

    false_positive_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    threshold: float | None = None

    def screen(self, context: Context) -> ScreenResult:
        """Return which images to refuse; score: consistency, standardised by the predicted label."""
        if context.incoming is None or len(context.trusted) < 4:
            raise DoesNotApply("SCALE-UP needs at least four trusted images and incoming ones")
        trusted = context.trusted.images
        order = torch.randperm(len(trusted), generator=context.generator).to(trusted.device)
        half = len(order) // 2
        labels, consistency = _consistency(context, trusted[order])
        usual = _Usual.of(labels[:half], consistency[:half], context.classes)
        clean = usual.standardised(labels[half:], consistency[half:])
        limit = limit_of(clean, self.false_positive_rate, self.threshold)
        found_labels, found = _consistency(context, context.incoming)
        scores = usual.standardised(found_labels, found)
        evidence = {
            **limit.evidence(),
            "trusted_consistency": round(float(consistency.mean()), 4),
            "mean_consistency": round(float(found.mean()), 4) if len(found) else None,
        }
        return ScreenResult(limit.flagged(scores), scores=scores, evidence=evidence)

    def passes(self, size: Size) -> int:
        """Return the passes of every image and its amplified copies."""
        return (1 + len(_FACTORS)) * (size.trusted + size.rows)


def _consistency(context: Context, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the predicted label (N,) of each image, and the share (N,) of its amplified copies that keep it."""
    labels = context.logits(images).argmax(1)
    kept = [context.logits((factor * images).clamp(0, 1)).argmax(1) == labels for factor in _FACTORS]
    return labels, torch.stack(kept).float().mean(0)


@dataclass(frozen=True, slots=True)
class _Usual:
    """Mean and standard deviation (classes,) of the consistency of clean images, by predicted label."""

    mean: Tensor
    deviation: Tensor

    @staticmethod
    def of(labels: Tensor, consistency: Tensor, classes: int) -> _Usual:
        least = 0.5 / len(_FACTORS)
        rows = [consistency[labels == label] for label in range(classes)]
        groups = [row if len(row) > 1 else consistency for row in rows]
        means = torch.stack([group.mean() for group in groups])
        return _Usual(means, torch.stack([group.std(correction=0) for group in groups]).clamp(min=least))

    def standardised(self, labels: Tensor, consistency: Tensor) -> Tensor:
        return (consistency - self.mean[labels]) / self.deviation[labels]
