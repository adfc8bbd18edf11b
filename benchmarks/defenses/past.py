"""What a platform remembers of the earlier versions of a lineage, as far back as a defense looks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import nn

from defenses.base import Defense, History, PastBatch, PastVersion, Rows, State, Subject
from simulator.batch import Batch
from simulator.production.lineage import reach


@final
@dataclass(frozen=True, slots=True)
class Past:
    """The fields of a context that tell of earlier periods; by default those of a model without any."""

    history: History = field(default_factory=History)
    state: State = field(default_factory=State)
    period: int = 0
    subject: Subject = "candidate"

    def fields(self) -> dict[str, Any]:
        """Return them by name."""
        return {"history": self.history, "state": self.state, "period": self.period, "subject": self.subject}


@final
@dataclass(frozen=True, slots=True)
class Version:
    """A version that served from its period on: its model, the rows it was trained on, its trusted accuracy."""

    model: nn.Module
    window: Batch
    trusted_accuracy: float


def history(versions: Sequence[Version], defense: Defense) -> History:
    """Return the history after `versions`, one a period, each the parent of the next, of which the last serves.

    Weights and rows can be loaded as far back as the class of `defense` says.
    """
    count = len(versions)
    champion = count - 1 if count else None
    near = reach({place: place - 1 if place else None for place in range(count)}, champion, defense.versions_back)
    return History(
        tuple(
            PastVersion(
                ordinal=place,
                parent=place - 1 if place else None,
                period=place,
                served=(place,),
                trusted_accuracy=version.trusted_accuracy,
                load=_model(version) if place in near else None,
            )
            for place, version in enumerate(versions)
        ),
        tuple(
            PastBatch(place, _rows(version, place) if place >= count - defense.periods_back else None)
            for place, version in enumerate(versions)
        ),
        champion=champion,
    )


def _model(version: Version) -> Callable[[], nn.Module]:
    return lambda: copy.deepcopy(version.model).eval()


def _rows(version: Version, period: int) -> Callable[[], Rows]:
    """Return what loads the rows as the platform archived them: trained on, so not fresh."""
    images, labels = version.window.images, version.window.labels
    periods, fresh = torch.full_like(labels, period), torch.zeros(len(labels), dtype=torch.bool)
    return lambda: Rows(images.clone(), labels.clone(), periods.clone(), fresh.clone())
