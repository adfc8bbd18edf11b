"""Learning-rate schedules: pure functions of the optimizer step.

`steps` is the number of optimizer steps of one whole training; `step` counts them from 0 to `steps - 1`. A schedule
keeps no state, so every period starts it anew. Rates are never negative.

Not `torch.optim.lr_scheduler`: most of its schedulers derive a rate from the one before, and so round otherwise
(tests/training/test_schedules.py says which); records would change. All of them step an optimizer to be asked.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, final

from pydantic import Field

from simulator.scenario.bounds import Bounded, Count, InnerShare, NonNegative, Positive

#: what a rate is divided by
Divisor = Annotated[float, Field(ge=1, allow_inf_nan=False)]


class Schedule(Bounded, ABC):
    """How the learning rate moves during one training."""

    @abstractmethod
    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of optimizer step `step` (0-based) of `steps`: finite, at least 0."""


def rates_of(schedule: Schedule, steps: int) -> tuple[float, ...]:
    """Return the learning rate of each step of a training of `steps` steps."""
    return tuple(float(schedule.rate_at(step, steps)) for step in range(steps))


@dataclass(frozen=True, kw_only=True)
class _Falling(Schedule):
    """Runs from `peak` down to `floor`."""

    peak: Positive = 0.1
    floor: NonNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_at_least("peak", self.peak, "floor", self.floor)


@final
@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """`rate` throughout.

    >>> rates_of(Constant(rate=0.01), 3)
    (0.01, 0.01, 0.01)
    """

    rate: Positive = 0.01

    def rate_at(self, step: int, steps: int) -> float:
        return self.rate


@final
@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """`rate`, multiplied by `factor` after each share `every` of the training (whole steps, at least one).

    >>> rates_of(Step(rate=0.8, factor=0.5, every=0.25), 8)
    (0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1)
    """

    rate: Positive = 0.1
    factor: Positive = 0.1
    every: InnerShare = 1 / 3

    def rate_at(self, step: int, steps: int) -> float:
        return self.rate * self.factor ** (step // _share_of(self.every, steps))


@final
@dataclass(frozen=True, kw_only=True)
class Cosine(_Falling):
    """Half a cosine from `peak` down to `floor` (Loshchilov & Hutter, ICLR 2017, without restarts).

    `floor` would be reached at step `steps`, one after the last.

    >>> [round(rate, 4) for rate in rates_of(Cosine(peak=0.1), 4)]
    [0.1, 0.0854, 0.05, 0.0146]
    """

    def rate_at(self, step: int, steps: int) -> float:
        return _cosine(self.peak, self.floor, step / steps)


@final
@dataclass(frozen=True, kw_only=True)
class Linear(_Falling):
    """A straight line from `peak` down to `floor`, which would be reached at step `steps`, one after the last.

    >>> [round(rate, 4) for rate in rates_of(Linear(peak=0.1), 4)]
    [0.1, 0.075, 0.05, 0.025]
    """

    def rate_at(self, step: int, steps: int) -> float:
        return _line(self.peak, self.floor, step / steps)


@final
@dataclass(frozen=True, kw_only=True)
class SlantedTriangular(Schedule):
    """A short rise from `peak / ratio` to `peak` over the share `cut`, then a long fall back (ULMFiT).

    Howard & Ruder, ACL 2018, with their values as defaults; all layers share one rate. Two deviations: the rise lasts
    at least one step, and the fall is divided by the steps that are left, `steps - rise`, which equals their
    `rise * (1 / cut - 1)` when `cut * steps` is whole and else keeps the rate from falling below `peak / ratio`.

    >>> [round(rate, 4) for rate in rates_of(SlantedTriangular(peak=0.1, cut=0.5, ratio=10), 4)]
    [0.01, 0.055, 0.1, 0.055]
    """

    peak: Positive = 0.1
    cut: InnerShare = 0.1
    ratio: Divisor = 32.0

    def rate_at(self, step: int, steps: int) -> float:
        # The tolerance keeps products such as 0.29 * 100 = 28.999... at the whole number they stand for.
        rise = max(1, math.floor(self.cut * steps + 1e-9))
        height = step / rise if step < rise else 1 - (step - rise) / (steps - rise)
        return self.peak * (1 + height * (self.ratio - 1)) / self.ratio


@final
@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """Up from `peak / divisor` to `peak` over the share `rise`, then down to `peak / divisor / final_divisor`.

    Smith & Topin, "Super-Convergence", 2018, in the form PyTorch's `OneCycleLR` gave it: both ramps are half
    cosines instead of lines, the fall is one ramp instead of two, and the last step stands at the bottom. Momentum is
    not cycled. A training of at most 1 / `rise` steps starts at the peak.

    >>> [round(rate, 4) for rate in rates_of(OneCycle(peak=0.1, rise=0.5, divisor=10), 6)]
    [0.01, 0.055, 0.1, 0.075, 0.025, 0.0]
    """

    peak: Positive = 0.1
    rise: InnerShare = 0.3
    divisor: Divisor = 25.0
    final_divisor: Divisor = 10000.0

    def rate_at(self, step: int, steps: int) -> float:
        top = max(0.0, self.rise * steps - 1)
        start = self.peak / self.divisor
        if step < top:
            return _cosine(start, self.peak, step / top)
        return _cosine(self.peak, start / self.final_divisor, (step - top) / max(steps - 1 - top, 1))


@final
@dataclass(frozen=True, kw_only=True)
class CyclicTwoPhase(Schedule):
    """Fast triangles between `base` and `peak1` for the share `first` (forget), then `base` and `peak2` (recover).

    Super-fine-tuning: Sha, He, Berrang, Humbert, Zhang, "Fine-Tuning Is All You Need to Mitigate Backdoor Attacks",
    arXiv 2212.09067, 2022. One rise, or one fall, takes `half_period` steps. The defaults are those of the
    Backdoor-Toolbox implementation, meant for plain SGD without momentum; small networks need lower peaks. The
    triangles run on across the border of the two phases.

    >>> schedule = CyclicTwoPhase(base=0.1, peak1=0.5, peak2=0.3, first=0.5, half_period=2)
    >>> [round(rate, 4) for rate in rates_of(schedule, 8)]
    [0.1, 0.3, 0.5, 0.3, 0.1, 0.2, 0.3, 0.2]
    """

    base: Positive = 0.03
    peak1: Positive = 2.5
    peak2: Positive = 0.05
    first: InnerShare = 0.4
    half_period: Count = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_at_least("peak1", self.peak1, "base", self.base)
        _require_at_least("peak2", self.peak2, "base", self.base)

    def rate_at(self, step: int, steps: int) -> float:
        peak = self.peak1 if step < _share_of(self.first, steps) else self.peak2
        place = step % (2 * self.half_period)
        height = min(place, 2 * self.half_period - place) / self.half_period
        return _line(self.base, peak, height)


@final
@dataclass(frozen=True, kw_only=True)
class WarmRestarts(_Falling):
    """Cosines from `peak` to `floor` that start again (SGDR; Loshchilov & Hutter, ICLR 2017).

    The first lasts the share `first` of the training (whole steps, at least one), each next one `growth` times the
    one before; the last is cut off where the training ends.

    >>> [round(rate, 4) for rate in rates_of(WarmRestarts(peak=0.1, first=0.5), 4)]
    [0.1, 0.05, 0.1, 0.05]
    """

    first: InnerShare = 0.25
    growth: Count = 1

    def rate_at(self, step: int, steps: int) -> float:
        length = _share_of(self.first, steps)
        while step >= length:
            step -= length
            length *= self.growth
        return _cosine(self.peak, self.floor, step / length)


def _share_of(share: float, steps: int) -> int:
    return max(1, round(share * steps))


def _line(start: float, end: float, place: float) -> float:
    return start + (end - start) * place


def _cosine(start: float, end: float, place: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * place)) / 2


def _require_at_least(name: str, value: float, least_name: str, least: float) -> None:
    if value < least:
        raise ValueError(f"expected {name} to be at least {least_name} ({least}), got {value}; raise it")
