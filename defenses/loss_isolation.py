"""Loss isolation: what a network learns first and best in a window is suspicious."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import nn

from defenses.base import Context, DoesNotApply, Filter, FilterResult, Rows, Size
from defenses.row_losses import in_order, losses_of, lowest, started_anew, turned_below


@final
@dataclass(frozen=True, kw_only=True)
class LossIsolation(Filter):
    """Trains a network on the window for a short time and drops the rows that it has learned best.

    Li, Lyu, Koren, Lyu, Li, Ma: Anti-Backdoor Learning: Training Clean Models on Poisoned Data (NeurIPS 2021): the
    isolation half of ABL; `defenses.anti_backdoor_learning` is both halves. It needs no trusted images, unless those
    set the threshold, and costs three passes a row and epoch, and one more for the losses.

    Options: `share` of the window's rows to drop, those with the lowest loss (paper: 0.01); `floor`: below this loss,
    in nats, a row's loss is raised instead of lowered (local gradient ascent; paper: 0.5), so that only what is learned
    fastest stays low; `epochs` (paper: 20); `rate`: learning rate; `batch`: rows a step; `start`: from a network that
    is initialised anew (`scratch`), or from `model`, which knows the clean classes already; `false_positive_rate`:
    where given, a row is dropped when its loss is below this quantile of the trusted images' losses, whatever `share`
    says.

    Its threshold is the paper's share of rows, or with `false_positive_rate` one that the trusted images set. It drops
    `share` of every window, also of a clean one.

    Differs from the paper: it trains with plain momentum at one rate, without augmentation; its window has thousands of
    rows, not 50,000, so an epoch is fewer steps.

    Measured on `compact-cnn` and digits (1,000 rows, 2x2 patch at 5 %), five models: it does not work there. At most
    0.04 of the poison is among the rows that it drops, fewer than by chance or about as many: the clean classes are
    learned as fast as the trigger, so that the losses of all rows end around `floor`.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> images, labels = torch.rand(100, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(100) % 2
    >>> images[[1, 3, 5], :, :2] = 5.0  # the labels say nothing but in these rows
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), feature_layer="1", classes=2,
    ...     device=torch.device("cpu"), trusted=Rows(images[:0], labels[:0]),
    ...     generator=torch.Generator().manual_seed(0), window=Rows(images, labels),
    ... )
    >>> (~LossIsolation(share=0.03, floor=0.0, rate=0.01).filter(context).keep).nonzero()[:, 0].tolist()
    [1, 3, 5]
    """

    calibration = "paper"

    share: Annotated[float, Interval(gt=0, lt=1)] = 0.01
    floor: Annotated[float, Ge(0)] = 0.5
    epochs: Annotated[int, Ge(1)] = 20
    rate: Annotated[float, Gt(0)] = 0.1
    batch: Annotated[int, Ge(2)] = 64
    start: Literal["scratch", "model"] = "scratch"
    false_positive_rate: Annotated[float, Interval(gt=0, lt=1)] | None = None

    def filter(self, context: Context) -> FilterResult:
        """Return which rows to keep; a row's score is minus its loss in nats."""
        window = context.window
        if window is None or len(window) < 2:
            raise DoesNotApply("loss isolation needs at least two rows in the window")
        if self.false_positive_rate is not None and not len(context.trusted):
            raise DoesNotApply("loss isolation needs trusted images where `false_positive_rate` is given")
        model = started_anew(context.model, context.generator) if self.start == "scratch" else context.model
        order = in_order(window)
        self._train(model, window.take(order), context.generator)
        losses = losses_of(model, window)
        if self.false_positive_rate is None:
            dropped = lowest(losses, max(1, round(self.share * len(losses))), order)
            threshold = losses[dropped].max()
        else:
            threshold = losses_of(model, context.trusted).quantile(self.false_positive_rate)
            dropped = losses < threshold
        evidence = {"threshold": round(float(threshold), 6), "mean_loss": round(float(losses.mean()), 6)}
        return FilterResult(~dropped.cpu(), -losses.cpu(), evidence=evidence)

    def passes(self, size: Size) -> int:
        """Return the passes of all epochs, and of the losses in the end."""
        return size.rows * (3 * self.epochs + 1) + size.trusted

    def _train(self, model: nn.Module, window: Rows, generator: torch.Generator) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=self.rate, momentum=0.9, weight_decay=1e-4)
        model.train()
        for _ in range(self.epochs):
            order = torch.randperm(len(window), generator=generator).to(window.labels.device)
            for rows in order.split(self.batch):
                if len(rows) > 1:  # BatchNorm cannot train on a single row
                    optimizer.zero_grad()
                    turned_below(self.floor, model(window.images[rows]), window.labels[rows]).backward()
                    optimizer.step()
        model.eval()
