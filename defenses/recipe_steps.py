"""Training by the platform's recipe, one step at a time, for methods that change what a step does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.base import Context, DoesNotApply, Recipe, Rows
from defenses.fitting import accuracy, set_rate


@dataclass(frozen=True, slots=True)
class Step:
    """The `rows` of one step, their `places` in the window, and the optimizer, rate set and gradients cleared."""

    rows: Rows
    places: Tensor
    optimizer: torch.optim.Optimizer
    rate: float


def to_train_on(context: Context) -> tuple[Rows, Recipe]:
    """Return the window and the recipe, or raise `DoesNotApply` where there is nothing to train on."""
    if context.window is None or context.recipe is None or len(context.window) < 2:
        raise DoesNotApply("training needs a recipe and at least two rows in the window")
    return context.window, context.recipe


def champion_of(context: Context) -> nn.Module | None:
    """Return the champion that is to be updated, in eval mode; None before there is one.

    It is the model that training starts from where `subject` says so. Where every update starts from scratch it is
    loaded from the history; a class with `versions_back = 1` has it there unless a later version was rejected. Raises
    `DoesNotApply` where it is not at hand.
    """
    if context.subject == "champion":
        return context.model.eval()
    serving = context.history.champion
    if serving is None:
        return None
    version = context.history.version(serving)
    if version.load is None:
        raise DoesNotApply(f"the champion, version {serving}, is not at hand, and training does not start from it")
    return version.model()


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are to be trained: those that require gradients."""
    return [value for value in model.parameters() if value.requires_grad]


def recipe_steps(
    model: nn.Module,
    window: Rows,
    recipe: Recipe,
    generator: torch.Generator,
    rates: Sequence[float] | None = None,
) -> Iterator[Step]:
    """Yield the steps of a training of `model` on `window`; the caller computes gradients and steps the optimizer.

    `rates`: the learning rate of each step, those of the recipe by default, stretched where the training is not as
    long. The model is in training mode at each step, and in eval mode in the end.
    """
    optimizer = recipe.optimizer(trained_parameters(model))
    batches = recipe.batches(len(window), generator)
    own = Recipe(recipe.epochs, recipe.batch, tuple(recipe.rates if rates is None else rates), recipe.optimizer)
    for number, places in enumerate(batches):
        rate = own.rate(number, len(batches))
        set_rate(optimizer, rate)
        optimizer.zero_grad()
        model.train()
        if len(places) > 1:  # BatchNorm cannot train on a single row
            yield Step(window.take(places), places.to(window.labels.device), optimizer, rate)
    model.eval()


def trained_plainly(
    model: nn.Module,
    window: Rows,
    recipe: Recipe,
    generator: torch.Generator,
    rates: Sequence[float] | None = None,
) -> nn.Module:
    """Train `model` in place with cross-entropy alone, as the platform would; return it."""
    for step in recipe_steps(model, window, recipe, generator, rates):
        cross_entropy(model(step.rows.images), step.rows.labels).backward()
        step.optimizer.step()
    return model


def trusted_accuracy(context: Context) -> float | None:
    """Return the share of trusted images that `context.model` classifies rightly; None without any."""
    if not len(context.trusted):
        return None
    return round(accuracy(context.model, context.trusted), 4)
