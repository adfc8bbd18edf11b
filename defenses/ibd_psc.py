"""IBD-PSC: a triggered image keeps its label when BatchNorm's parameters are amplified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from defenses.base import Context, DoesNotApply, Screen, ScreenResult, Threshold
from defenses.refusal import limit_of


@final
@dataclass(frozen=True, kw_only=True)
class IbdPsc(Screen):
    """Refuses images whose label stays certain in copies of the model with amplified BatchNorm parameters.

    Hou, Feng, Hua, Luo, Zhang, Li: IBD-PSC: Input-level Backdoor Detection via Parameter-oriented Scaling Consistency
    (ICML 2024).

    Options: `factor` by which scale and shift of a BatchNorm are multiplied; `copies` of the model, at most; `error` on
    trusted images that the first copy must exceed; `false_positive_rate` on clean images at which the threshold is set;
    `threshold`: that of the paper (0.9) in place of one set by trusted images.

    The first copy amplifies the last k BatchNorms, with the smallest k at which the model errs on more than `error` of
    the trusted images; each further copy amplifies one more. An image's score is the mean probability that the copies
    give to the label that the model itself predicts. It costs `copies` + 1 forward passes an image, and for the trusted
    images as many more as it takes to find k. Skipped without BatchNorm, and where not even all of them amplified make
    the model err as much: in networks of two or three layers amplification hardly changes which logit is the largest.

    Differs from the paper: the threshold is a quantile of the trusted images' scores, since 0.9 refuses more clean
    images the more certain a model is. The paper's networks have 13 BatchNorms and more. Measured: skipped on
    all ten `compact-cnn` models of Fashion-MNIST, which have two; not yet measured on residual networks.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> norm, head = nn.BatchNorm1d(3), nn.Linear(3, 2)
    >>> with torch.no_grad():
    ...     _ = norm.bias.copy_(torch.tensor([0.0, -1.0, 0.0]))
    ...     _ = head.weight.copy_(torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 9.0]]))
    ...     _ = head.bias.copy_(torch.tensor([-1.0, 0.0]))  # class 1 until the shift grows; the last pixel decides
    >>> generator = torch.Generator().manual_seed(0)
    >>> images = 0.2 * torch.rand(60, 1, 1, 3, generator=generator)
    >>> images[..., 2] = 0.02
    >>> incoming = images[:3].clone()
    >>> incoming[0, ..., 2] = 1.0  # a trigger
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), norm, head).eval(), feature_layer="2", classes=2,
    ...     device=torch.device("cpu"), trusted=Rows(images, torch.ones(60, dtype=torch.long)), generator=generator,
    ...     incoming=incoming,
    ... )
    >>> IbdPsc().screen(context).flagged.tolist()
    [True, False, False]
    """

    needs_trusted = True
    calibration = "trusted images"
    threshold_option = Threshold("threshold", of="scores")

    factor: Annotated[float, Gt(1)] = 1.5
    copies: Annotated[int, Ge(1)] = 5
    error: Annotated[float, Interval(ge=0, lt=1)] = 0.6
    false_positive_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    threshold: Annotated[float | None, Interval(ge=0, le=1)] = None

    def screen(self, context: Context) -> ScreenResult:
        """Return which images to refuse; score: the mean probability of the predicted label over the copies."""
        if context.incoming is None or not len(context.trusted):
            raise DoesNotApply("IBD-PSC needs trusted images and incoming ones")
        norms = _executed_norms(context)
        if not norms:
            raise DoesNotApply("IBD-PSC needs a network with BatchNorm")
        first = self._start(context, norms)
        copies = range(first, min(first + self.copies, len(norms) + 1))
        trusted = self._scores(context, norms, context.trusted.images, copies)
        limit = limit_of(trusted, self.false_positive_rate, self.threshold)
        scores = self._scores(context, norms, context.incoming, copies)
        evidence = {
            **limit.evidence(),
            "amplified": list(copies),
            "mean_consistency": round(float(scores.mean()), 4) if len(scores) else None,
        }
        return ScreenResult(limit.flagged(scores), scores=scores.float(), evidence=evidence)

    def _start(self, context: Context, norms: list[_Norm]) -> int:
        """Return the number of amplified BatchNorms of the first copy."""
        images, labels = context.trusted.images, context.trusted.labels
        for count in range(1, len(norms) + 1):
            with _amplified(norms[-count:], self.factor):
                if _share(context.logits(images).argmax(1) != labels) > self.error:
                    return count
        raise DoesNotApply(f"no amplification of BatchNorm makes the model err on over {self.error} of trusted images")

    def _scores(self, context: Context, norms: list[_Norm], images: Tensor, copies: range) -> Tensor:
        labels = context.logits(images).argmax(1, keepdim=True)
        total = torch.zeros(len(images), device=images.device, dtype=torch.double)
        for count in copies:
            with _amplified(norms[-count:], self.factor):
                total += context.logits(images).double().softmax(1).gather(1, labels).squeeze(1)
        return total / len(copies)


_Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def _executed_norms(context: Context) -> list[_Norm]:
    """Return BatchNorms that have a scale and a shift, in the order in which they first run."""
    found: list[_Norm] = []
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    hooks = [
        module.register_forward_pre_hook(lambda ran, _: None if ran in found else found.append(ran))
        for module in context.model.modules()
        if isinstance(module, kinds) and module.affine
    ]
    try:
        context.logits(context.trusted.images[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return found


@contextmanager
def _amplified(norms: list[_Norm], factor: float) -> Iterator[None]:
    tensors = [tensor for norm in norms for tensor in (norm.weight, norm.bias)]
    saved = [tensor.detach().clone() for tensor in tensors]
    try:
        with torch.no_grad():
            for tensor in tensors:
                tensor.mul_(factor)
        yield
    finally:
        with torch.no_grad():
            for tensor, before in zip(tensors, saved, strict=True):
                tensor.copy_(before)


def _share(rows: Tensor) -> float:
    return round(float(rows.float().mean()), 4)
