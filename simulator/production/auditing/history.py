"""Earlier versions as a defense that looks back is shown them: what an audit knows of them, and no more.

There are no windows and no drift signals: a registry keeps neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from simulator.production.auditing.subject import Model, Place
from simulator.production.defending.facts import DefenseFacts
from simulator.production.defending.history import VERSION, HistoryFacts, OutcomeFacts, VersionFacts, as_blob
from simulator.records import Outcome


@final
@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier version: `model` is None where its weights are not at hand; `accuracy` is on the trusted images."""

    place: Place
    model: Model | None = None
    accuracy: float | None = None
    outcomes: tuple[Outcome, ...] = ()


def as_history(
    earlier: Sequence[Earlier], facts: DefenseFacts, model: Model, *, serves: bool
) -> tuple[HistoryFacts, dict[str, Tensor]]:
    """Return the history for a defense of `facts` that is asked about `model`, and blobs of what it may load.

    `serves`: it is asked about the version that serves, which is then the last of the history; else about a candidate,
    and the champion is what that was trained from.
    """
    known = sorted(earlier, key=lambda one: one.place.ordinal)
    if serves:
        known.append(Earlier(replace(model.place, served=True), model))
    ordinals = {one.place.ordinal for one in known}
    near = known[-facts.versions_back :] if facts.versions_back else []
    blobs = {
        f"{VERSION}{one.place.ordinal}": as_blob(one.model.weights)
        for one in near
        if one.model is not None and _shapes(one.model) == _shapes(model)
    }
    versions = tuple(_facts(one, ordinals) for one in known)
    return HistoryFacts(versions=versions, champion=_champion(known, model, serves=serves)), blobs


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Return what has to be equal for the weights of one model to fit the network of another."""
    return {name: tuple(value.shape) for name, value in model.weights.items()}


def _champion(known: Sequence[Earlier], model: Model, *, serves: bool) -> int | None:
    if serves:
        return model.place.ordinal
    if model.place.parent in {one.place.ordinal for one in known}:
        return model.place.parent
    return next((one.place.ordinal for one in reversed(known) if one.place.served), None)


def _facts(one: Earlier, ordinals: set[int]) -> VersionFacts:
    place = one.place
    return VersionFacts(
        ordinal=place.ordinal,
        parent=place.parent if place.parent in ordinals else None,
        period=place.period,
        served=(place.period,) if place.served else (),
        trusted_accuracy=one.accuracy,
        outcomes=tuple(OutcomeFacts.of(outcome) for outcome in one.outcomes),
    )
