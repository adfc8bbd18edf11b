"""A training that a defense may do in the platform's place, and what the record says of any training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import nn

from simulator.batch import Batch
from simulator.production.defending.driver import Defenders
from simulator.production.defending.recipe import RecipeFacts
from simulator.production.training.job import Trained
from simulator.production.update import Updater, Window
from simulator.records import Outcome
from simulator.tensors import ModelVersion


@dataclass(frozen=True, slots=True)
class Defended:
    """What came of asking: the training, who did it, and the outcome.

    No training and no name where there is no such defense, or what it returned could not be used.
    """

    trained: Trained | None = None
    name: str | None = None
    outcomes: tuple[Outcome, ...] = ()


NOT_DEFENDED: Final = Defended()


def by_defense(
    defenders: Defenders, updater: Updater, champion: nn.Module | None, window: Window, trusted: Batch, period: int
) -> Defended:
    """Let the training defense train, if there is one."""
    if not defenders.has("training"):
        return NOT_DEFENDED
    start, phase = updater.start(champion, period)
    trained, outcomes = defenders.train(
        ModelVersion(start),
        window.shown,
        trusted,
        RecipeFacts.of(phase, len(window.rows)),
        period=period,
        about="champion" if start is champion else "candidate",
    )
    if trained is None:
        return Defended(outcomes=outcomes)
    samples = outcomes[0].cost["samples"]
    return Defended(Trained(trained.model, samples=samples, steps=None, losses=()), outcomes[0].name, outcomes)


def told_of(trained: Trained, window: Window, trainer: str | None, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the record says of a training on `window`.

    `trainer` did it in the platform's place (None: nobody), `recipe` is what a defense had this update do otherwise.
    """
    return {
        "rows": len(window.rows),
        "replayed": window.replayed,
        "samples": trained.samples,
        "steps": trained.steps,
        "losses": list(trained.losses),
        **({} if trainer is None else {"trainer": trainer}),
        **({"recipe": dict(recipe)} if recipe else {}),
    }
