"""STRIP as a filter of rows: those whose prediction stays confident under other images bear a trigger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
from annotated_types import Ge, Interval

from defenses.base import Context, DoesNotApply, Filter, FilterResult, Size, Threshold
from defenses.strip import entropy_under

#: trusted images beside the overlays, at least: a quantile of fewer says little
_HELD_OUT = 20


@final
@dataclass(frozen=True, kw_only=True)
class StripFilter(Filter):
    """Drops rows whose predictions stay confident when trusted images are blended over them.

    Gao, Xu, Wang, Chen, Ranasinghe, Nepal: STRIP: A Defence Against Trojan Attacks on Deep Neural Networks (ACSAC
    2019), a test of incoming images. Toolkits use it on training data too, as here; `defenses.strip` is the screen.

    Options: `overlays`: trusted images blended over each row, one at a time; `opacity` of an overlay, whose sum with
    the row is clipped at 1; `false_positive_rate` on trusted images at which the threshold is set (paper: 0.01);
    `threshold` of the score, which is minus the entropy in nats, in place of one set by trusted images; `again`: ask
    for a second look with the candidate's predictions, which alone know the trigger of this window.

    The trusted images are split into the overlays and the rest, whose entropies give the threshold. It costs `overlays`
    passes a row and a trusted image, and is skipped with fewer than `overlays` + 20 trusted images. One row's verdict
    does not depend on the others.

    Differs from the paper: 16 overlays instead of 100; the empirical quantile, not that of a fitted normal
    distribution. The model was trained on the rows and not on the trusted images, so it is surer of the rows, and more
    of the clean ones are dropped than `false_positive_rate` says.

    Measured on `compact-cnn` and digits (1,000 rows, 300 trusted images, 2x2 patch at 5 %, the candidate's features),
    five models each: 0.98 to 1.00 of the poison is dropped, 0.5 to 2.6 % of the clean rows beside it, 0.7 to 4.1 % of
    clean windows, and 0 to 2.4 % of windows of which two thirds are turned by 10 degrees, the trusted images not.

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
    >>> rows = images[:3].clone()
    >>> rows[0, :, 3, 3] = 1.0  # a trigger
    >>> labels = torch.zeros(60, dtype=torch.long)
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), head), feature_layer="1", classes=2, device=torch.device("cpu"),
    ...     trusted=Rows(images, labels), generator=generator, window=Rows(rows, labels[:3]),
    ... )
    >>> StripFilter().filter(context).keep.tolist()
    [False, True, True]
    """

    needs_trusted = True
    calibration = "trusted images"
    threshold_option = Threshold("threshold", of="scores")

    overlays: Annotated[int, Ge(1)] = 16
    opacity: Annotated[float, Interval(gt=0, le=1)] = 1.0
    false_positive_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.01
    threshold: float | None = None
    again: bool = True

    def filter(self, context: Context) -> FilterResult:
        """Return which rows to keep; a row's score is minus its entropy in nats."""
        trusted, window = context.trusted.images, context.window
        if len(trusted) < self.overlays + _HELD_OUT:
            raise DoesNotApply(f"STRIP needs {self.overlays + _HELD_OUT} trusted images or more, got {len(trusted)}")
        if window is None or not len(window):
            raise DoesNotApply("STRIP as a filter needs rows in the window, got none")
        order = torch.randperm(len(trusted), generator=context.generator).to(trusted.device)
        overlays, held_out = trusted[order[: self.overlays]], trusted[order[self.overlays :]]
        clean = entropy_under(context, held_out, overlays, self.opacity)
        threshold = float(clean.quantile(self.false_positive_rate)) if self.threshold is None else -self.threshold
        entropy = entropy_under(context, window.images, overlays, self.opacity)
        evidence = {"threshold": round(threshold, 6), "mean_entropy": round(float(entropy.mean()), 6)}
        return FilterResult((entropy >= threshold).cpu(), -entropy.cpu(), evidence=evidence, again=self.again)

    def passes(self, size: Size) -> int:
        """Return the passes of every row and trusted image under every overlay."""
        return self.overlays * (size.trusted + size.rows)
