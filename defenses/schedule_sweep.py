"""Schedule sweep: of several learning-rate schedules, train with the one that forgets a canary best."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, final

import torch
from annotated_types import Ge, Interval
from torch import nn

from defenses.base import Context, DoesNotApply, Recipe, Rows, Training, TrainingResult
from defenses.canary import Canary, drawn, planted
from defenses.fitting import accuracy
from defenses.recipe_steps import to_train_on, trained_plainly, trusted_accuracy

#: name -> relative rate at the place in [0, 1) of a training; each is scaled to the recipe's mean rate
SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda place: 1.0,
    "linear": lambda place: 1.0 - place,
    "triangle": lambda place: place / 0.1 if place < 0.1 else (1.0 - place) / 0.9,
    "warm-restarts": lambda place: (1 + math.cos(math.pi * (4 * place % 1.0))) / 2,
    "two-phase": lambda place: 1.0 if place < 0.2 else 0.05,
}


@final
@dataclass(frozen=True, kw_only=True)
class ScheduleSweep(Training):
    """Tries schedules of the recipe's mean learning rate on a copy that bears a canary, and trains with the best one.

    After Li, Bhagoji, Chen, Zheng, Zhao: On the Permanence of Backdoors in Evolving Models (arXiv 2206.04677, 2022),
    who find that the schedule of the learning rate decides how fast an update forgets a backdoor. They
    compare schedules by the attack's own success, which a defender cannot see. Here the defender plants a backdoor of
    his own, a canary, into a copy of the champion by means of half of the trusted images, trains copies of that on the
    window, and looks at the other half. Of the schedules whose accuracy there is at most `tolerance` below the best
    one's, the one that leaves least of the canary wins, and the champion itself, without canary, is trained with it.

    Options: `tolerance` of accuracy, as a share of 1; `planting`: epochs of planting at most. Its threshold,
    `tolerance`, is of accuracy on trusted images.

    The recipe's own schedule takes part, beside a constant, a falling line, a triangle (a tenth up), four warm restarts
    and two phases (a fifth high, then a twentieth of that). It costs one training by the recipe more than there are
    schedules: seven in all. Where training starts from scratch, as in period 0, nothing is to be forgotten, and it
    trains by the recipe. Skipped with fewer than forty trusted images. What it cannot know is whether the attacker's
    backdoor fades as the canary does.

    Measured on `compact-cnn` and digits: three champions with a 2x2 patch (attack success 0.86 to 1.00), one clean
    update of 250 rows and four epochs at a mean rate of 0.1, the recipe's schedule constant. It left 0.85, 0.89 and
    1.00, where the recipe left 0.77, 0.92 and 1.00, at an accuracy within a point of it: no gain there.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Recipe, Rows
    >>> images, labels = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    >>> recipe = Recipe(2, 10, (0.1,) * 8, lambda found: torch.optim.SGD(found, lr=0.1))
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), feature_layer="1", classes=2,
    ...     device=torch.device("cpu"), trusted=Rows(images, labels), generator=torch.Generator().manual_seed(0),
    ...     window=Rows(images, labels), recipe=recipe,
    ... )
    >>> ScheduleSweep().train(context).evidence["chosen"]  # period 0
    'recipe'
    """

    needs_trusted = True
    calibration = "trusted images"

    tolerance: Annotated[float, Interval(ge=0, lt=1)] = 0.01
    planting: Annotated[int, Ge(1)] = 30

    def train(self, context: Context) -> TrainingResult:
        """Return the trained model; evidence: the schedule chosen, and each one's accuracy and canary success."""
        window, recipe = to_train_on(context)
        schedules = {"recipe": recipe.rates, **rates_of(recipe)}
        tried: dict[str, Any] = {}
        canary: float | None = None
        if context.subject == "champion":
            canary, tried = self._tried(context, window, recipe, schedules)
        chosen = best_of(tried, self.tolerance) if tried else "recipe"
        trained_plainly(context.model, window, recipe, context.generator, schedules[chosen])
        evidence = {"chosen": chosen, "planted": canary, "tried": tried, "trusted_accuracy": trusted_accuracy(context)}
        return TrainingResult(context.model, evidence)

    def _tried(
        self, context: Context, window: Rows, recipe: Recipe, schedules: dict[str, tuple[float, ...]]
    ) -> tuple[float, dict[str, Any]]:
        """Return the canary's success before the window, and what each schedule left of it."""
        trusted, generator = context.trusted, context.generator
        if len(trusted) < 40:
            raise DoesNotApply(f"the schedule sweep needs at least 40 trusted images, got {len(trusted)}")
        order = torch.randperm(len(trusted), generator=generator)
        teach, look = trusted.take(order[: len(order) // 2]), trusted.take(order[len(order) // 2 :])
        canary = drawn(trusted.images, context.classes, generator)
        bearer = copy.deepcopy(context.model)
        planted(bearer, canary, teach, self.planting, generator)
        seed = int(torch.randint(2**31, (1,), generator=generator))
        tried = {
            name: self._left(copy.deepcopy(bearer), canary, look, window, recipe, seed, rates)
            for name, rates in schedules.items()
        }
        return round(canary.success(bearer, look), 4), tried

    def _left(
        self,
        bearer: nn.Module,
        canary: Canary,
        look: Rows,
        window: Rows,
        recipe: Recipe,
        seed: int,
        rates: tuple[float, ...],
    ) -> dict[str, float]:
        trained_plainly(bearer, window, recipe, torch.Generator().manual_seed(seed), rates)
        return {"accuracy": round(accuracy(bearer, look), 4), "canary": round(canary.success(bearer, look), 4)}


def rates_of(recipe: Recipe) -> dict[str, tuple[float, ...]]:
    """Return the rates of each step by the name of the schedule; all have the mean of the recipe's.

    >>> rates = rates_of(Recipe(1, 2, (0.1, 0.3), lambda found: torch.optim.SGD(found, lr=0.1)))["linear"]
    >>> [round(rate, 4) for rate in rates]  # 1 and 1/2, scaled
    [0.2667, 0.1333]
    """
    count = len(recipe.rates)
    mean = sum(recipe.rates) / count
    raw = {name: [shape(step / count) for step in range(count)] for name, shape in SHAPES.items()}
    return {
        name: tuple(mean * rate * count / sum(rates) for rate in rates) for name, rates in raw.items() if sum(rates)
    }


def best_of(tried: dict[str, dict[str, float]], tolerance: float) -> str:
    """Return the schedule that leaves least of the canary among those at most `tolerance` below the best accuracy.

    >>> best_of({"a": {"accuracy": 0.9, "canary": 0.5}, "b": {"accuracy": 0.895, "canary": 0.2}}, 0.01)
    'b'
    >>> best_of({"a": {"accuracy": 0.9, "canary": 0.5}, "b": {"accuracy": 0.7, "canary": 0.0}}, 0.01)
    'a'
    """
    least = max(found["accuracy"] for found in tried.values()) - tolerance
    return min((name for name in tried if tried[name]["accuracy"] >= least), key=lambda name: tried[name]["canary"])
