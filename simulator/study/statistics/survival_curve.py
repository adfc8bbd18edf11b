"""The Kaplan-Meier curve: which share of the backdoors still lives after how many updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.study.statistics.lifetimes import Lifetime

__all__ = ["SurvivalCurve", "survival_curve"]


@dataclass(frozen=True, slots=True)
class SurvivalCurve:
    """Steps of the curve: from `times[i]` on the share `alive[i]` in [0, 1]; it begins at (0, 1) and ends at `end`.

    `end`: the longest follow-up. `censored`: the times, ascending, at which timelines ended with the backdoor alive.
    """

    times: tuple[float, ...]
    alive: tuple[float, ...]
    end: float
    censored: tuple[float, ...]

    def at(self, time: float) -> float:
        """Return the share alive at `time` (at least 0)."""
        return next(alive for since, alive in zip(self.times[::-1], self.alive[::-1], strict=True) if since <= time)


def survival_curve(lives: Sequence[Lifetime]) -> SurvivalCurve:
    """Return the curve of at least one lifetime. Kaplan and Meier, JASA 1958; who is censored at t is at risk at t."""
    if not lives:
        raise ValueError("expected at least one lifetime, got none; leave out settings that were never planted")
    times, alive = [0.0], [1.0]
    for time in sorted({life.time for life in lives if life.ended}):
        at_risk = sum(life.time >= time for life in lives)
        events = sum(life.ended and life.time == time for life in lives)
        times.append(time)
        alive.append(alive[-1] * (1 - events / at_risk))
    return SurvivalCurve(
        times=tuple(times),
        alive=tuple(alive),
        end=max(life.time for life in lives),
        censored=tuple(sorted(life.time for life in lives if not life.ended)),
    )
