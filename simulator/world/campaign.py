"""When, and at which rate, the attacker poisons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

from torch import Tensor

__all__ = ["Campaign", "CampaignView", "NoCampaign", "OneShot", "Persistent", "Scripted"]


@dataclass(frozen=True, slots=True)
class CampaignView:
    """What the attacker knows in a period.

    `state` holds JSON values: what the campaign left there in the period before. It is a copy of the campaign's own;
    what is written into it comes back in the next period. `query` gives the champion's class predictions int64 (N,)
    on the attacker's own images float32 (N, C, H, W), as any client could get them; None while nothing serves.
    """

    period: int
    state: dict[str, Any] = field(default_factory=dict)
    query: Callable[[Tensor], Tensor] | None = None


class Campaign(ABC):
    """Decides the poison rate of each period. Stateless: what it must remember goes through `CampaignView.state`."""

    #: whether the rate depends on more than the period; if not, it is tried out before a run starts
    adaptive: ClassVar[bool] = True

    @abstractmethod
    def rate(self, view: CampaignView) -> float:
        """Return the share of the period's rows to poison, in [0, 1]."""


@final
class NoCampaign(Campaign):
    """Never poisons."""

    adaptive = False

    def rate(self, view: CampaignView) -> float:
        """Return 0."""
        return 0.0


@final
class OneShot(Campaign):
    """Poisons one `period` (0 is the base training) at `rate`, and no other."""

    adaptive = False

    def __init__(self, *, period: int = 0, rate: float = 0.05) -> None:
        self.period = _period("period", period)
        self._rate = _rate("rate", rate)

    def rate(self, view: CampaignView) -> float:
        """Return the rate in its period, 0 in others."""
        return self._rate if view.period == self.period else 0.0


@final
class Persistent(Campaign):
    """Poisons every period from `start` on at `rate`."""

    adaptive = False

    def __init__(self, *, rate: float = 0.05, start: int = 0) -> None:
        self._rate = _rate("rate", rate)
        self.start = _period("start", start)

    def rate(self, view: CampaignView) -> float:
        """Return the rate from its start on, 0 before."""
        return self._rate if view.period >= self.start else 0.0


@final
class Scripted(Campaign):
    """Poisons the periods that `rates` names, each at its rate, and no other."""

    adaptive = False
    #: what the conformance checks build it with
    example: ClassVar[dict[str, Any]] = {"rates": {1: 0.1}}

    def __init__(self, *, rates: dict[int, float]) -> None:
        self.rates = {_period("rates", period): _rate(f"rates.{period}", rate) for period, rate in rates.items()}

    def rate(self, view: CampaignView) -> float:
        """Return the period's rate, 0 for a period it does not name."""
        return self.rates.get(view.period, 0.0)


def _rate(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"expected {name} to be a share in [0, 1], got {value}; correct it")
    return value


def _period(name: str, value: int) -> int:
    if value < 0:
        raise ValueError(f"expected {name} to count periods from 0, got {value}; correct it")
    return value
