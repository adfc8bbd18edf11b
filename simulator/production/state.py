"""What a production line remembers between periods: with the kept weights, a fresh process needs no more.

Shadow mode: a challenger predicts what arrives beside the champion before it may serve.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import asdict, astuple, dataclass, field, fields
from typing import Any, Literal

from torch import Tensor, nn

from simulator.production.policy import PastPeriod
from simulator.production.training.evaluate import logits


@dataclass(frozen=True, slots=True)
class Shadow:
    """A challenger in shadow since it was trained in period `since`; `seen`: period -> (equal predictions, images)."""

    challenger: int
    since: int
    seen: Mapping[int, tuple[int, int]]

    def passed(self, period: int) -> int:
        """Periods in shadow, `period` included; 0 in the one it was trained in."""
        return period - self.since

    def saw(self, period: int, equal: int, images: int) -> Shadow:
        """The shadow after the predictions of a period; repeating a period does not count twice."""
        return Shadow(self.challenger, self.since, {**self.seen, period: (equal, images)})

    def compared(self, period: int, challenger: nn.Module, champion: nn.Module, images: Tensor) -> Shadow:
        """The shadow after both models predicted the images of a period; no label is looked at."""
        return self.saw(period, agreeing(challenger, champion, images), len(images))

    def told(self, period: int, periods: int) -> str:
        """Return a sentence about where the challenger stands in `period` of the `periods` that a shadow lasts."""
        return f"the challenger of period {self.since} is in shadow, period {self.passed(period)} of {periods}"

    @property
    def agreement(self) -> float | None:
        """Share of all predictions so far in which challenger and champion name the same class; None without any."""
        images = sum(count for _, count in self.seen.values())
        return sum(equal for equal, _ in self.seen.values()) / images if images else None

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads."""
        return {**asdict(self), "seen": [[period, *counts] for period, counts in sorted(self.seen.items())]}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Shadow:
        """The shadow of `to_json`."""
        seen = {period: (equal, images) for period, equal, images in values["seen"]}
        return Shadow(values["challenger"], values["since"], seen)


def agreeing(one: nn.Module, other: nn.Module, images: Tensor) -> int:
    """Return for how many of `images` float32 (N, C, H, W) the two models predict the same class."""
    return int((logits(one, images).argmax(1) == logits(other, images).argmax(1)).sum())


@dataclass(slots=True)
class PlatformState:
    """Versions by ordinal, rows by the period they arrived in.

    `pending` periods wait for training, `trained` ones have had theirs; `dropped`: period -> positions that filters
    refused. `promotion`: since when the champion serves. `requested`: why an operator asked for a retraining.
    """

    champion: int | None = None
    parents: dict[int, int | None] = field(default_factory=dict)
    next_ordinal: int = 0
    pending: list[int] = field(default_factory=list)
    trained: list[int] = field(default_factory=list)
    dropped: dict[int, list[int]] = field(default_factory=dict)
    flagged: list[int] = field(default_factory=list)
    history: list[PastPeriod] = field(default_factory=list)
    since_update: int = 0
    promotion: int = 0
    requested: list[str] = field(default_factory=list)
    shadow: Shadow | None = None

    def trained_in(self, ordinal: int) -> int:
        """Return the period in which a version was trained."""
        return [past.period for past in self.history if past.retrained][ordinal]

    def role_of(self, ordinal: int) -> Literal["champion", "challenger", "candidate"]:
        """Return what a version is at the end of a period: a candidate where it neither serves nor is in shadow."""
        if ordinal == self.champion:
            return "champion"
        return "challenger" if self.shadow is not None and self.shadow.challenger == ordinal else "candidate"

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads."""
        return {
            **{name: copy(getattr(self, name)) for name in _FIELDS},
            "parents": [[ordinal, parent] for ordinal, parent in sorted(self.parents.items())],
            "dropped": [[period, list(rows)] for period, rows in sorted(self.dropped.items())],
            "flagged": sorted(set(self.flagged)),
            "history": [list(astuple(past)) for past in self.history],
            "shadow": None if self.shadow is None else self.shadow.to_json(),
        }

    @staticmethod
    def from_json(state: Mapping[str, Any]) -> PlatformState:
        """The memory of `to_json`; other keys of `state` are left alone."""
        known = {
            **{name: copy(state[name]) for name in _FIELDS},
            "parents": dict(state["parents"]),
            "dropped": {period: list(rows) for period, rows in state["dropped"]},
            "history": [PastPeriod(*past) for past in state["history"]],
            "shadow": None if state["shadow"] is None else Shadow.from_json(state["shadow"]),
        }
        return PlatformState(**known)


_FIELDS = tuple(field.name for field in fields(PlatformState))
