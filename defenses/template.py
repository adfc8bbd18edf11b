"""Copy this file, rename the class, change the middle. Then name it in a scenario as `module:Name`.

A defense is one class with one method. Which surface it belongs to, and so when it is called, follows from its base:
`Filter` before training, `Repair` on the candidate, `Inspector` before promotion, `Screen` at serving.
`ebbdoor check module:Name` tries it out.
"""

from __future__ import annotations

from typing import final

import torch
from torch.nn.functional import cross_entropy

from defenses.base import Context, DoesNotApply, Repair, RepairResult

__all__ = ["FineTuning"]


@final
class FineTuning(Repair):
    """Trains the candidate a little further on the trusted images: the baseline every repair has to beat.

    It is not reliable: attack success of 0.95 falls to anything from 0.03 to 0.85 for 1 to 7 points of accuracy
    (`standard-cnn`, 500 trusted images of Fashion-MNIST, 14 models with a 3x3 patch).

    Options (keyword-only, each with a default and a unit: this signature is all a scenario needs to know them):
    `epochs` passes over the trusted images, `rate` learning rate, falling linearly to 0, `batch` rows a step.
    """

    needs_trusted = True  # a scenario that grants no trusted images is then refused beforehand

    def __init__(self, *, epochs: int = 10, rate: float = 0.2, batch: int = 50) -> None:
        # Refuse what cannot work with a plain ValueError; types are checked for you from the annotations.
        if epochs < 1 or batch < 2:
            raise ValueError(f"expected epochs >= 1 and batch >= 2, got {epochs} and {batch}; raise them")
        if rate <= 0:
            raise ValueError(f"expected rate to be above 0, got {rate}; give a learning rate")
        self.epochs = epochs
        self.rate = rate
        self.batch = batch

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
