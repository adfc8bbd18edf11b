"""Learning without forgetting: the new model is to answer on the window as the champion did, too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, final

from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import cross_entropy

from defenses.base import Context, Training, TrainingResult
from defenses.recipe_steps import champion_of, recipe_steps, to_train_on, trained_plainly, trusted_accuracy


@final
@dataclass(frozen=True, kw_only=True)
class LearningWithoutForgetting(Training):
    """Trains on the window by the recipe, with the champion's answers on its images as second labels.

    Li, Hoiem: Learning without Forgetting (ECCV 2016), LwF: a strategy of continual learning. It keeps what the
    champion says about the window's images, so that a backdoor that these do not show is not kept by it; where the
    window bears triggers, the champion's answers to them are learned again. It needs neither trusted images nor earlier
    rows, and costs what training by the recipe does, and one pass a row.

    Options: `weight` of the champion's answers against 1 for the labels (paper: 1); `temperature` by which both
    models' logits are divided there (paper: 2). It has no threshold.

    Differs from the paper: all classes are old ones, so that both losses are on the same outputs, and there is no
    warm-up of a new head. Without a champion, in period 0, it trains plainly. Where every update starts from scratch,
    the champion's answers come from its weights in the history; skipped where these are not at hand.

    Measured on `compact-cnn` and digits: three champions with a 2x2 patch (attack success 0.86 to 1.00), one clean
    update of 250 rows and four epochs. At a learning rate of 0.1 it leaves 0.84, 0.96 and 1.00 at an accuracy of 0.96
    to 0.98, where plain training leaves 0.77, 0.92 and 1.00 at 0.95 to 0.96: it keeps accuracy, and the backdoor with
    it.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Recipe, Rows
    >>> images, labels = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    >>> recipe = Recipe(5, 10, (0.1,) * 20, lambda found: torch.optim.SGD(found, lr=0.1))
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), feature_layer="1", classes=2,
    ...     device=torch.device("cpu"), trusted=Rows(images, labels), generator=torch.Generator().manual_seed(0),
    ...     window=Rows(images, labels), recipe=recipe, subject="champion",
    ... )
    >>> LearningWithoutForgetting().train(context).evidence["distilled"]
    True
    """

    versions_back = 1

    weight: Annotated[float, Ge(0)] = 1.0
    temperature: Annotated[float, Gt(0)] = 2.0

    def train(self, context: Context) -> TrainingResult:
        """Return the trained model; evidence: whether there was a champion, and the accuracy on trusted images."""
        window, recipe = to_train_on(context)
        champion = champion_of(context)
        if champion is None:
            trained_plainly(context.model, window, recipe, context.generator)
            return TrainingResult(context.model, {"distilled": False, "trusted_accuracy": trusted_accuracy(context)})
        answers = replace(context, model=champion).logits(window.images)
        for step in recipe_steps(context.model, window, recipe, context.generator):
            logits = context.model(step.rows.images)
            loss = cross_entropy(logits, step.rows.labels)
            loss = loss + self.weight * distillation(logits, answers[step.places], self.temperature)
            loss.backward()
            step.optimizer.step()
        return TrainingResult(context.model, {"distilled": True, "trusted_accuracy": trusted_accuracy(context)})


def distillation(logits: Tensor, answers: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy of `logits` against `answers`, both logits (N, classes), at `temperature`.

    >>> import torch
    >>> logits = torch.tensor([[0.0, 0.0]])  # even odds: ln 2, whatever the answers
    >>> round(float(distillation(logits, torch.tensor([[3.0, -1.0]]), 2.0)), 4)
    0.6931
    """
    return cross_entropy(logits / temperature, (answers / temperature).softmax(1))
