"""Kernel two-sample test on the champion's features, or on pixels, with a permutation p-value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Tensor

from simulator.production.monitors.base import Monitor, MonitorView
from simulator.production.monitors.inputs import Level, Reference, check_draws, forward, require_rows
from simulator.records import Signal


@final
@dataclass(kw_only=True)
class Mmd(Monitor):
    """Unbiased squared maximum mean discrepancy (Gretton, Borgwardt, Rasch, Schölkopf, Smola; JMLR 2012).

    Kernel: exp(-d² / 2s²) with s the median distance of the pooled rows. At most `rows` images a side are drawn without
    replacement. The p-value counts the observed value among `permutations` random relabellings of the pooled rows,
    (1 + larger or equal) / (1 + permutations), and so is valid at every sample size (Phipson and Smyth, 2010); `alarm`
    is p <= `level`. `score` is MMD² (unitless, may be negative), `threshold` the permutation value it must exceed.

    Both sides are embedded by the current champion: an update of the model is not taken for drift. Undefined (no score,
    no alarm, the reason in `detail`) when an embedding is not finite.

    >>> generator = torch.Generator().manual_seed(0)
    >>> reference, current = torch.rand(2, 40, 1, 8, 8, generator=generator)
    >>> views = [
    ...     MonitorView(reference, images, torch.nn.Flatten(), "", generator) for images in (current, current / 2)
    ... ]
    >>> [Mmd(on="pixels", permutations=99).observe(view).alarm for view in views]
    [False, True]
    """

    on: Literal["features", "pixels"] = "features"
    rows: Annotated[int, Field(ge=2, le=2000)] = 500  # the kernel holds (2 rows)² numbers
    permutations: int = 199
    level: Level = 0.05
    reference: Reference = "fixed"
    least_images: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_draws(self.level, self.permutations, "permutations")

    def observe(self, view: MonitorView) -> Signal:
        require_rows(view, self.reference)
        generator = view.generator.clone_state()  # so that the same view gives the same signal
        reference, current = (self._embed(view, side, generator) for side in (view.reference, view.current))
        detail = {"on": self.on, "rows": [len(reference), len(current)], "reference": self.reference}
        if not (reference.isfinite().all() and current.isfinite().all()):
            reason = f"the champion's {self.on} are not finite"
            return Signal(method="mmd", detail={**detail, "reason": reason})
        gram, bandwidth = kernel(torch.cat([reference, current]))
        score, threshold, p_value = self._test(gram, len(reference), generator)
        return Signal(
            method="mmd",
            score=score,
            threshold=threshold,
            p_value=p_value,
            alarm=score > threshold,
            detail={**detail, "bandwidth": bandwidth, "level": self.level, "permutations": self.permutations},
        )

    def _embed(self, view: MonitorView, images: Tensor, generator: torch.Generator) -> Tensor:
        chosen = torch.randperm(len(images), generator=generator)[: self.rows]
        images = images[chosen.to(images.device)]
        if self.on == "pixels":
            return images.flatten(1).double()
        return forward(view.model, view.feature_layer, images)[1].double()

    def _test(self, gram: Tensor, first: int, generator: torch.Generator) -> tuple[float, float, float]:
        rows = len(gram)
        orders = torch.stack([torch.randperm(rows, generator=generator) for _ in range(self.permutations)])
        members = torch.zeros(1 + self.permutations, rows, dtype=gram.dtype)
        members[0, :first] = 1
        members[1:].scatter_(1, orders[:, :first], 1.0)
        values = unbiased_mmd2(gram, members.to(gram.device)).cpu()
        observed, null = values[0], values[1:].sort(descending=True).values
        # p <= level exactly when fewer than `allowed` permutations reach the observed value
        allowed = int(self.level * (1 + self.permutations) + 1e-9)
        p_value = (1 + int((null >= observed).sum())) / (1 + self.permutations)
        return float(observed), float(null[allowed - 1]), p_value


def kernel(rows: Tensor) -> tuple[Tensor, float]:
    """Return the Gaussian kernel (N, N) of `rows` float64 (N, D), and its bandwidth: the median pairwise distance.

    When more than half of the pairs coincide, the median of the positive distances; 1 when all coincide.
    """
    norms = rows.square().sum(1)
    squared = (norms[:, None] + norms[None, :] - 2 * rows @ rows.T).clamp_min_(0)
    pairs = squared[tuple(torch.triu_indices(len(rows), len(rows), 1, device=rows.device))]
    # the expansion above leaves rounding errors of this size between equal rows
    positive = pairs[pairs > 1e-12 * norms.max()]
    median = pairs.median()
    if len(positive) == 0:
        return torch.ones_like(squared), 1.0
    if median <= 1e-12 * norms.max():
        median = positive.median()
    return torch.exp(-squared / (2 * median)), float(median.sqrt())


def unbiased_mmd2(gram: Tensor, members: Tensor) -> Tensor:
    """Return the unbiased MMD² (S,) of S splits of the rows of a kernel matrix `gram` (N, N).

    `members` (S, N) is 1 for the rows of the first sample, 0 for the second's; each has at least two. Equation 3 of
    Gretton et al. (2012).
    """
    without_self = gram - torch.diag(gram.diagonal())
    first = members.sum(1)
    second = len(gram) - first
    weights = members @ without_self
    within_first = (weights * members).sum(1)
    across = weights.sum(1) - within_first
    within_second = without_self.sum() - within_first - 2 * across
    return (
        within_first / (first * (first - 1)) + within_second / (second * (second - 1)) - 2 * across / (first * second)
    )
