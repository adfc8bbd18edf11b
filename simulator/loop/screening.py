"""What screens decide about the images that probes show them, asked once for each lot of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from torch import Tensor

from simulator.production.defending.combined import ScreenRun
from simulator.records import Outcome


@final
class Screening:
    """The screens in front of one version; `ask` runs them. `outcomes` are theirs so far."""

    def __init__(self, ask: Callable[[Tensor], ScreenRun]) -> None:
        self._ask = ask
        self._last: tuple[Tensor, ScreenRun] | None = None
        self.outcomes: list[Outcome] = []

    def refused(self, images: Tensor) -> Tensor:
        """Return which of `images` are refused, bool (N,)."""
        return self._of(images, anew=True).flagged

    def answers(self, images: Tensor) -> Tensor:
        """Return the class that screens answer in the model's place, int64 (N,); -1 where the model answers itself."""
        return self._of(images, anew=False).answers

    def _of(self, images: Tensor, *, anew: bool) -> ScreenRun:
        if anew or self._last is None or self._last[0] is not images:
            self._last = images, self._ask(images)
            self.outcomes.extend(self._last[1].outcomes)
        return self._last[1]


def together(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """One outcome a screen for all that it was shown: the worst status with its reason, costs added.

    It was given the same trusted images each time, so they are counted once.
    """
    worst = ("failed", "timeout", "flagged", "changed", "skipped", "passed")
    found: dict[str, Outcome] = {}
    for outcome in outcomes:
        other = found.get(outcome.name, outcome)
        cost = {name: outcome.cost.get(name, 0) + other.cost.get(name, 0) for name in {*outcome.cost, *other.cost}}
        cost |= {name: outcome.cost[name] for name in ("trusted_images",) if name in outcome.cost}
        telling = min(other, outcome, key=lambda one: worst.index(one.status))
        found[outcome.name] = outcome if other is outcome else telling.model_copy(update={"cost": cost})
    return tuple(found.values())
