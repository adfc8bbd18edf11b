"""Elastic weight consolidation: weights that trusted images depend on stay near the champion's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, final

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.base import Context, DoesNotApply, Rows, Training, TrainingResult
from defenses.recipe_steps import champion_of, recipe_steps, to_train_on, trained_plainly, trusted_accuracy

#: rows a gradient of the Fisher information
_ROWS = 10


@final
@dataclass(frozen=True, kw_only=True)
class ElasticWeights(Training):
    """Trains on the window by the recipe, with a spring on each weight to the champion's, as stiff as it matters.

    Kirkpatrick et al.: Overcoming Catastrophic Forgetting in Neural Networks (PNAS 2017), EWC: a strategy of continual
    learning, which keeps what the champion knows. What it knows about `rows` is kept, so that with trusted images clean
    knowledge is protected and a backdoor, which they do not show, is not. With earlier rows that hold poison, the
    backdoor is protected too. It costs what training by the recipe does, and three passes for each of `rows`.

    Options: `strength` of the springs (paper: 400 in its Atari games); `rows` by which a weight's importance is
    measured: the `trusted` images, or the `earlier` rows: those of the last period that was trained on, else what this
    window replays; `most`: how many of these rows are used.

    It has no threshold. A weight's importance is the diagonal of the Fisher information: the mean square of the
    gradient of the log-likelihood of labels drawn from the champion's own predictions. It is computed on ten rows at a
    time: since such gradients are independent and zero in the mean, ten times the square of their mean has the same
    expectation as the mean of their squares.

    Differs from the paper: after each step of the recipe's optimizer, a weight w with importance F at learning rate r
    goes to w* + (w - w*) / (1 + r `strength` F). This is the penalty's implicit step, which no strength makes unstable.
    Without a champion, in period 0, it trains plainly. Where every update starts from scratch, the champion comes from
    the history; skipped where it is not at hand.

    Measured on `compact-cnn` and digits: three champions with a 2x2 patch (attack success 0.86 to 1.00), one clean
    update of 250 rows and four epochs, importance by 300 trusted images. At a learning rate of 0.1 it leaves 0.89, 1.00
    and 1.00 at an accuracy of 0.97 to 0.98, where plain training leaves 0.77, 0.92 and 1.00 at 0.95 to 0.96: it keeps
    accuracy, and the backdoor with it.

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
    >>> before = context.model[1].weight.clone()
    >>> trained = ElasticWeights(strength=1e9).train(context).model  # nothing moves that matters
    >>> bool((trained[1].weight - before).abs().max() < 1e-4)
    True
    """

    versions_back = 1
    periods_back = 2  # with late labels the last one is what this window brings

    strength: Annotated[float, Ge(0)] = 400.0
    rows: Literal["trusted", "earlier"] = "trusted"
    most: Annotated[int, Ge(1)] = 500

    @property
    def needs_trusted(self) -> bool:  # type: ignore[override]  # the base has it as a class variable
        """As the option `rows` says."""
        return self.rows == "trusted"

    def train(self, context: Context) -> TrainingResult:
        """Return the trained model; evidence: how many rows set the importance, and the accuracy on trusted images."""
        window, recipe = to_train_on(context)
        model, champion = context.model, champion_of(context)
        if champion is None:
            trained_plainly(model, window, recipe, context.generator)
            return TrainingResult(model, {"rows": 0, "trusted_accuracy": trusted_accuracy(context)})
        known = self._known(context, window)
        importance = fisher_information(champion, known, context.generator)
        anchors = {name: value.detach().clone() for name, value in champion.named_parameters()}
        for step in recipe_steps(model, window, recipe, context.generator):
            cross_entropy(model(step.rows.images), step.rows.labels).backward()
            step.optimizer.step()
            pull_back(model, anchors, importance, step.rate * self.strength)
        return TrainingResult(model, {"rows": len(known), "trusted_accuracy": trusted_accuracy(context)})

    def _known(self, context: Context, window: Rows) -> Rows:
        """Return the rows by which importance is measured."""
        rows: Rows | None = context.trusted
        if self.rows == "earlier":
            rows = _last_trained(context)
            if rows is None and window.fresh is not None:
                rows = window.take(~window.fresh)
        if rows is None or not len(rows):
            raise DoesNotApply(f"EWC needs {self.rows} rows, there are none")
        order = torch.randperm(len(rows), generator=context.generator)
        return rows.take(order[: self.most])


def _last_trained(context: Context) -> Rows | None:
    """Return what is left of the latest period that is at hand and was trained on; None where nothing is."""
    for batch in reversed(context.history.batches):
        rows = None if batch.load is None else batch.rows()
        if rows is not None and rows.fresh is not None:
            rows = rows.take(~rows.fresh)
        if rows is not None and len(rows):
            return rows
    return None


def fisher_information(model: nn.Module, rows: Rows, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the diagonal of the Fisher information of each parameter of `model` that is trained, by name.

    In eval mode; labels are drawn from the model's predictions.
    """
    model.eval()
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    found = {name: torch.zeros_like(value) for name, value in trained.items()}
    for images in rows.images.split(_ROWS):
        logits = model(images)
        drawn = torch.multinomial(logits.detach().float().softmax(1).cpu(), 1, generator=generator)[:, 0]
        grads = torch.autograd.grad(
            cross_entropy(logits, drawn.to(logits.device)), list(trained.values()), allow_unused=True
        )
        for name, grad in zip(trained, grads, strict=True):
            if grad is not None:
                found[name] += grad.square() * len(images) ** 2 / len(rows)
    return found


@torch.no_grad()
def pull_back(
    model: nn.Module, anchors: Mapping[str, Tensor], importance: Mapping[str, Tensor], strength: float
) -> None:
    """Move each parameter w with importance F towards its anchor a, to a + (w - a) / (1 + `strength` F).

    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(model.weight, 5.0)
    >>> pull_back(model, {"weight": torch.tensor([[1.0]])}, {"weight": torch.tensor([[1.5]])}, 2.0)
    >>> model.weight.item()  # 1 + 4 / (1 + 3)
    2.0
    """
    for name, value in model.named_parameters():
        if name in importance:
            value.copy_(anchors[name] + (value - anchors[name]) / (1 + strength * importance[name]))
