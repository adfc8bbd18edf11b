"""When, and at which rate, the attacker poisons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

from torch import Tensor

from simulator.scenario.bounds import Bounded

__all__ = [
    "Burst",
    "Campaign",
    "CampaignView",
    "Drip",
    "NoCampaign",
    "OneShot",
    "Periodic",
    "Persistent",
    "Scripted",
    "check_count",
    "check_period",
    "check_rate",
]


@dataclass(frozen=True, slots=True)
class CampaignView:
    """What the attacker knows in a period.

    `state` holds JSON values: what the campaign left there in the period before. It is a copy of the campaign's own;
    what is written into it comes back in the next period. `query` gives the champion's class predictions int64 (N,)
    on the attacker's own images float32 (N, C, H, W), as any client could get them; None while nothing serves.

    `stamped(n)` gives at most n images of the attacker's own with its trigger on them, the same whenever it is asked in
    a period: rows that arrive in this period, of the attack's source classes (all but `target`, unless it says others),
    with the period's drift. The champion has not been trained on them (unless rows are recycled), and no defender's,
    test or re-learning row is among them.
    """

    period: int
    state: dict[str, Any] = field(default_factory=dict)
    query: Callable[[Tensor], Tensor] | None = None
    stamped: Callable[[int], Tensor] | None = None
    target: int = 0

    def success(self, images: int) -> float | None:
        """Return which share of at most `images` own stamped images the champion calls `target`; None if it cannot."""
        mine = None if self.query is None or self.stamped is None else self.stamped(images)
        if mine is None or self.query is None or not len(mine):
            return None
        return int((self.query(mine) == self.target).sum()) / len(mine)


class Campaign(Bounded, ABC):
    """Decides the poison rate of each period. Stateless: what it must remember goes through `CampaignView.state`."""

    #: whether the rate depends on more than the period; if not, it is tried out before a run starts
    adaptive: ClassVar[bool] = True
    #: the highest rate an adaptive one asks for, tried out before a run starts; None where that is not known
    most: float | None = None

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
        self.period = check_period("period", period)
        self._rate = check_rate("rate", rate)

    def rate(self, view: CampaignView) -> float:
        """Return the rate in its period, 0 in others."""
        return self._rate if view.period == self.period else 0.0


@final
class Persistent(Campaign):
    """Poisons every period from `start` on at `rate`."""

    adaptive = False

    def __init__(self, *, rate: float = 0.05, start: int = 0) -> None:
        self._rate = check_rate("rate", rate)
        self.start = check_period("start", start)

    def rate(self, view: CampaignView) -> float:
        """Return the rate from its start on, 0 before."""
        return self._rate if view.period >= self.start else 0.0


@final
class Drip(Campaign):
    """Poisons a little in each of `periods` periods from `start` on: `rate` of every batch, too little to stand out."""

    adaptive = False

    def __init__(self, *, rate: float = 0.005, start: int = 0, periods: int = 10) -> None:
        self._rate = check_rate("rate", rate)
        self.start = check_period("start", start)
        self.periods = check_count("periods", periods)

    def rate(self, view: CampaignView) -> float:
        """Return the rate within its span, 0 before and after."""
        return self._rate if within_span(view.period, self.start, self.periods) else 0.0


@final
class Burst(Campaign):
    """Poisons much in `periods` periods from `start` on: `rate` of every batch, and nothing before or after."""

    adaptive = False

    def __init__(self, *, rate: float = 0.2, start: int = 0, periods: int = 2) -> None:
        self._rate = check_rate("rate", rate)
        self.start = check_period("start", start)
        self.periods = check_count("periods", periods)

    def rate(self, view: CampaignView) -> float:
        """Return the rate during the burst, 0 before and after."""
        return self._rate if within_span(view.period, self.start, self.periods) else 0.0


@final
class Periodic(Campaign):
    """Poisons `start` and every `every`-th period after it at `rate`; `every` 1 is `persistent`."""

    adaptive = False

    def __init__(self, *, rate: float = 0.05, every: int = 3, start: int = 0) -> None:
        self._rate = check_rate("rate", rate)
        self.every = check_count("every", every)
        self.start = check_period("start", start)

    def rate(self, view: CampaignView) -> float:
        """Return the rate in its periods, 0 in others."""
        since = view.period - self.start
        return self._rate if since >= 0 and since % self.every == 0 else 0.0


@final
class Scripted(Campaign):
    """Poisons the periods that `rates` names, each at its rate, and no other."""

    adaptive = False
    #: what the conformance checks build it with
    example: ClassVar[dict[str, Any]] = {"rates": {1: 0.1}}

    def __init__(self, *, rates: dict[int, float]) -> None:
        self.rates = {
            check_period("rates", period): check_rate(f"rates.{period}", rate) for period, rate in rates.items()
        }

    def rate(self, view: CampaignView) -> float:
        """Return the period's rate, 0 for a period it does not name."""
        return self.rates.get(view.period, 0.0)


def within_span(period: int, start: int, periods: int) -> bool:
    """Whether `period` is one of the `periods` from `start` on."""
    return start <= period < start + periods


def check_rate(name: str, value: float) -> float:
    """Return `value`, the option `name` of a campaign, if it is a share; raise `ValueError` otherwise."""
    if not 0 <= value <= 1:
        raise ValueError(f"expected {name} to be a share in [0, 1], got {value}; correct it")
    return value


def check_period(name: str, value: int) -> int:
    """Return `value`, the option `name` of a campaign, if it can number a period; raise `ValueError` otherwise."""
    if value < 0:
        raise ValueError(f"expected {name} to count periods from 0, got {value}; correct it")
    return value


def check_count(name: str, value: int) -> int:
    """Return `value`, the option `name` of a campaign, if it is at least 1; raise `ValueError` otherwise."""
    if value < 1:
        raise ValueError(f"expected {name} to be at least 1, got {value}; correct it")
    return value
