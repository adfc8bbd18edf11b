"""What a defense may ask of the platform beside its result. The scenario says who may be granted what.

Each request is recorded with its reason, and with what became of it: granted, or refused and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class RollBack:
    """Let version `to` serve again, in place of the champion; the candidate of this period is not promoted.

    `to` must have served before, and its weights must be at hand: the nearest ancestors of the champion are, and the
    latest versions as far back as any of the scenario's defenses looks (`versions_back`).
    """

    to: int
    reason: str


@dataclass(frozen=True, slots=True)
class Retrain:
    """Retrain in the next period whatever the policy says.

    `recipe` holds what differs from the scenario's recipe in that one update, under its keys: any of `epochs`, `batch`,
    `schedule`, `optimizer`, `replay`, as in `{"schedule": {"use": "slanted-triangular", "peak": 0.3}}`.
    """

    reason: str
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Purge:
    """Take rows out of this window and out of everything that is replayed later, for good.

    `periods`: all rows that arrived then; `rows` bool (N,) over `context.window`. A purge of this window takes effect
    in this period's training when a filter asks, later otherwise.
    """

    reason: str
    periods: tuple[int, ...] = ()
    rows: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Do not promote the candidate, or the challenger in shadow, that is judged in this period."""

    reason: str


Request = RollBack | Retrain | Purge | Hold
