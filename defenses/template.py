"""Copy this file, rename the class, change the middle. Then name it in a scenario as `module:Name`.

A defense is one class with one method. Which surface it belongs to, and so when it is called, follows from its base:
`Filter` before training, `Training` in the platform's place, `Repair` on the candidate, `Inspector` before promotion,
`Screen` at serving.
`ebbdoor check module:Name` tries it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt
from torch.nn.functional import cross_entropy

from defenses.base import Context, DoesNotApply, Repair, RepairResult


@final
@dataclass(frozen=True, kw_only=True)
class MyRepair(Repair):
    """Trains the candidate a little further on the trusted images, in as few lines as that takes.

    What ships under the name `fine-tuning`, `defenses/fine_tuning.py`, does it better.

    Options (keyword-only, each with a default, a unit and, in its annotation, its bounds: a scenario learns them from
    this signature alone): `epochs`: passes over the trusted images; `rate`: learning rate, falling linearly to 0;
    `batch`: rows a step. It has no threshold; of one, say where it comes from, here and as `calibration`.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> images, labels = torch.zeros(40, 1, 4, 4), torch.arange(40) % 2
    >>> images[labels == 1] = 1.0
    >>> head = nn.Linear(16, 2)
    >>> with torch.no_grad():
    ...     _ = head.weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 16))  # predicts the wrong class
    ...     _ = head.bias.zero_()
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), head), feature_layer="1", classes=2, device=torch.device("cpu"),
    ...     trusted=Rows(images, labels), generator=torch.Generator().manual_seed(0),
    ... )
    >>> MyRepair(epochs=20).repair(context).evidence["trusted_accuracy"]
    {'before': 0.5, 'after': 1.0}
    """

    needs_trusted = True  # a scenario that grants no trusted images is then refused beforehand

    # Types and bounds are checked for you from the annotations. Raise a plain ValueError in `__post_init__`, after
    # calling that of the base class, for options that cannot work together.
    epochs: Annotated[int, Ge(1)] = 10
    rate: Annotated[float, Gt(0)] = 0.2
    batch: Annotated[int, Ge(2)] = 50

    def repair(self, context: Context) -> RepairResult:
        """Return the model after fine-tuning, with its accuracy on the trusted images before and after."""
        images, labels = context.trusted.images, context.trusted.labels
        if len(labels) < 2:  # nothing to work on is not a failure: the outcome becomes `skipped`
            raise DoesNotApply("fine-tuning needs at least two trusted images")
        before = self._accuracy(context)

        model = context.model.train()  # a private copy on its device: change it freely
        optimizer = torch.optim.SGD(model.parameters(), lr=self.rate, momentum=0.9)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=self.epochs)
        for _ in range(self.epochs):
            # Draw from the context's generator and from nothing else, so that a run can be repeated.
            order = torch.randperm(len(labels), generator=context.generator).to(context.device)
            for rows in order.split(self.batch):
                if len(rows) > 1:  # BatchNorm cannot train on a single row
                    optimizer.zero_grad()
                    cross_entropy(model(images[rows]), labels[rows]).backward()
                    optimizer.step()
            schedule.step()
        model.eval()

        # Evidence is shown to people and stored with the version: plain numbers, text, lists and dicts.
        return RepairResult(model, {"trusted_accuracy": {"before": before, "after": self._accuracy(context)}})

    def _accuracy(self, context: Context) -> float:
        predicted = context.logits(context.trusted.images).argmax(1)
        return float((predicted == context.trusted.labels).float().mean())
