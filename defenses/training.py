"""Training as the platform would, for defenses that train in its place and change a step of it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.context import Context

#: (model, images, labels) -> the loss of a step, as a scalar
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def train_by_recipe(context: Context, loss: Loss | None = None) -> None:
    """Train `context.model` in place on `context.window` by `context.recipe`, and leave it in eval mode.

    `loss` defaults to cross-entropy. Rows are shuffled by the context's generator. Nothing happens with fewer than two
    rows, which BatchNorm needs.

    >>> import torch
    >>> from defenses.base import Recipe, Rows
    >>> images, labels = torch.eye(4).reshape(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), feature_layer="1", classes=2,
    ...     device=torch.device("cpu"), trusted=Rows(images, labels), generator=torch.Generator().manual_seed(0),
    ...     window=Rows(images, labels), recipe=Recipe(50, 2, (0.5,), lambda found: torch.optim.SGD(found, lr=0.0)),
    ... )
    >>> train_by_recipe(context)
    >>> context.logits(images).argmax(1)
    tensor([0, 1, 0, 1])
    """
    window, recipe = context.window, context.recipe
    assert window is not None
    assert recipe is not None
    optimizer = recipe.optimizer(parameter for parameter in context.model.parameters() if parameter.requires_grad)
    steps = recipe.batches(len(window), context.generator) if len(window) > 1 else []
    context.model.train()
    for number, rows in enumerate(steps):
        part = window.take(rows)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(number, len(steps))
        optimizer.zero_grad()
        (loss or _cross_entropy)(context.model, part.images, part.labels).backward()
        optimizer.step()
    context.model.eval()


def _cross_entropy(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(model(images), labels)
