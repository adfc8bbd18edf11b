"""When, and at which rate, the attacker poisons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

from torch import Tensor

from simulator.scenario.bounds import Bounded, Count, Natural, Share


@dataclass(frozen=True, slots=True)
class CampaignView:
    """What the attacker knows in a period.

    `state` holds JSON values: what the campaign left there in the period before. It is a copy of the campaign's own;
    what is written into it comes back in the next period. `query` gives the champion's class predictions int64 (N,)
    on the attacker's own images float32 (N, C, H, W), as any client could get them; None while nothing serves.

    `stamped(n)` gives at most n images of the attacker's own with its trigger on them, the same images for every call
    in a period: rows that arrive in this period, of the attack's source classes (all but `target` by default), with
    the period's drift. The champion has not been trained on them (unless rows are recycled), and none of them is a
    trusted, test or re-learning row.
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
    """Never poisons.

    >>> NoCampaign().rate(CampaignView(period=0))
    0.0
    """

    adaptive = False

    def rate(self, view: CampaignView) -> float:
        """Return 0."""
        return 0.0


class _Planned(Campaign):
    """Poisons some periods, known before a run starts, all at the same rate."""

    adaptive = False
    _rate: float

    def rate(self, view: CampaignView) -> float:
        """Return the rate in a period that is poisoned, 0 in others."""
        return self._rate if self._poisons(view.period) else 0.0

    @abstractmethod
    def _poisons(self, period: int) -> bool: ...


@final
class OneShot(_Planned):
    """Poisons one `period` (0 is the base training) at `rate`, a share in [0, 1], and no other.

    >>> [OneShot(period=1, rate=0.1).rate(CampaignView(period)) for period in range(4)]
    [0.0, 0.1, 0.0, 0.0]
    """

    def __init__(self, *, period: Natural = 0, rate: Share = 0.05) -> None:
        self.period = period
        self._rate = rate

    def _poisons(self, period: int) -> bool:
        return period == self.period


@final
class Persistent(_Planned):
    """Poisons every period from `start` on at `rate`, a share in [0, 1].

    >>> [Persistent(start=1, rate=0.1).rate(CampaignView(period)) for period in range(4)]
    [0.0, 0.1, 0.1, 0.1]
    """

    def __init__(self, *, rate: Share = 0.05, start: Natural = 0) -> None:
        self._rate = rate
        self.start = start

    def _poisons(self, period: int) -> bool:
        return period >= self.start


class _Span(_Planned):
    """Poisons `periods` periods from `start` on."""

    start: int
    periods: int

    def _poisons(self, period: int) -> bool:
        return self.start <= period < self.start + self.periods


@final
class Drip(_Span):
    """Poisons a little in each of `periods` periods from `start` on: `rate` of every batch, too little to stand out.

    >>> [Drip(start=1, periods=2).rate(CampaignView(period)) for period in range(4)]
    [0.0, 0.005, 0.005, 0.0]
    """

    def __init__(self, *, rate: Share = 0.005, start: Natural = 0, periods: Count = 10) -> None:
        self._rate = rate
        self.start = start
        self.periods = periods


@final
class Burst(_Span):
    """Poisons much in `periods` periods from `start` on: `rate` of every batch, and nothing before or after.

    >>> [Burst(start=1, periods=2).rate(CampaignView(period)) for period in range(4)]
    [0.0, 0.2, 0.2, 0.0]
    """

    def __init__(self, *, rate: Share = 0.2, start: Natural = 0, periods: Count = 2) -> None:
        self._rate = rate
        self.start = start
        self.periods = periods


@final
class Periodic(_Planned):
    """Poisons `start` and every `every`-th period after it at `rate`; `every` 1 is `persistent`.

    >>> [Periodic(start=1, every=2, rate=0.1).rate(CampaignView(period)) for period in range(5)]
    [0.0, 0.1, 0.0, 0.1, 0.0]
    """

    def __init__(self, *, rate: Share = 0.05, every: Count = 3, start: Natural = 0) -> None:
        self._rate = rate
        self.every = every
        self.start = start

    def _poisons(self, period: int) -> bool:
        return period >= self.start and (period - self.start) % self.every == 0


@final
class Scripted(Campaign):
    """Poisons the periods that `rates` names, each at its rate in [0, 1], and no other.

    >>> [Scripted(rates={1: 0.1, 2: 0.02}).rate(CampaignView(period)) for period in range(4)]
    [0.0, 0.1, 0.02, 0.0]
    """

    adaptive = False
    #: options for the conformance checks
    example: ClassVar[dict[str, Any]] = {"rates": {1: 0.1}}

    def __init__(self, *, rates: dict[Natural, Share]) -> None:
        self.rates = rates

    def rate(self, view: CampaignView) -> float:
        """Return the period's rate, 0 for a period it does not name."""
        return self.rates.get(view.period, 0.0)
