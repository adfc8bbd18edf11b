"""Alarms against the true drift: whether the monitor noticed, and how late. Pure functions over periods in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Watched:
    """A period as the monitor saw it and as it was. `drift` maps each drift to its magnitude in its own unit."""

    period: int
    alarm: bool
    drift: Mapping[str, float]

    @property
    def drifted(self) -> bool:
        """Whether any drift differs from none."""
        return any(value != 0 for value in self.drift.values())


@dataclass(frozen=True, slots=True)
class Alarms:
    """`delay`: periods from the first drifted period to the first alarm of that episode, None without drift or alarm.

    `episodes` of drift, `missed` of them without any alarm; `false_alarms` among `undrifted` periods. Period 0 is the
    reference and is left out.
    """

    delay: int | None
    episodes: int
    missed: int
    false_alarms: int
    undrifted: int


def judge_alarms(periods: Sequence[Watched]) -> Alarms:
    """Compare alarms with the true drift. An episode is an unbroken stretch of drifted periods."""
    watched = [point for point in periods if point.period > 0]
    episodes = [list(run) for drifted, run in groupby(watched, lambda point: point.drifted) if drifted]
    delays = [next((point.period - run[0].period for point in run if point.alarm), None) for run in episodes]
    still = [point for point in watched if not point.drifted]
    return Alarms(
        delay=delays[0] if delays else None,
        episodes=len(episodes),
        missed=sum(delay is None for delay in delays),
        false_alarms=sum(point.alarm for point in still),
        undrifted=len(still),
    )
