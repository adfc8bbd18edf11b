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
from simulator.production.defending.history import (
    VERSION,
    HistoryFacts,
    OutcomeFacts,
    VersionFacts,
    as_blob,
    of_a_defender,
)
from simulator.production.lineage import reach
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
    versions = tuple(_facts(one, {one.place.ordinal for one in known}) for one in known)
    champion = model.place.ordinal if serves else _trained_from([one.place for one in known], model.place)
    near = reach({one.ordinal: one.parent for one in versions}, champion, facts.versions_back)
    blobs = {
        f"{VERSION}{one.place.ordinal}": as_blob(one.model.weights)
        for one in known
        if one.place.ordinal in near and one.model is not None and _shapes(one.model) == _shapes(model)
    }
    return HistoryFacts(versions=versions, champion=champion), blobs


def looked_back_to(earlier: Sequence[Place], place: Place, count: int) -> set[int]:
    """Return which of the `earlier` versions may be loaded when the one at `place` is audited, by their ordinals.

    `count` is how many versions back the defense looks.
    """
    parents = {one.ordinal: one.parent for one in earlier}
    known = {one: parent if parent in parents else None for one, parent in parents.items()}
    return reach(known, _trained_from(earlier, place), count)


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Return what has to be equal for the weights of one model to fit the network of another."""
    return {name: tuple(value.shape) for name, value in model.weights.items()}


def _trained_from(known: Sequence[Place], place: Place) -> int | None:
    """Return the version that the one at `place` was trained from; where that is not known, the last that served."""
    if place.parent in {one.ordinal for one in known}:
        return place.parent
    return next((one.ordinal for one in sorted(known, key=lambda one: -one.ordinal) if one.served), None)


def _facts(one: Earlier, ordinals: set[int]) -> VersionFacts:
    place = one.place
    return VersionFacts(
        ordinal=place.ordinal,
        parent=place.parent if place.parent in ordinals else None,
        period=place.period,
        served=(place.period,) if place.served else (),
        trusted_accuracy=one.accuracy,
        outcomes=tuple(OutcomeFacts.of(outcome) for outcome in of_a_defender(one.outcomes)),
    )
