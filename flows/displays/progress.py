"""How far a run is, from its commits alone, also when it goes on from the middle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

__all__ = ["Commits"]


@final
class Commits:
    """Counts whole periods over all lines. A line not heard of yet is taken to be where the first one began."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._done: dict[str, int] = dict.fromkeys(lines, 0)
        self._begun = False

    def add(self, line: str, period: int) -> float:
        """Note that a line has committed a period, and return the periods done, a mean over the lines."""
        if not self._begun:
            self._done = dict.fromkeys(self._done, period)
            self._begun = True
        self._done[line] = period + 1
        return sum(self._done.values()) / len(self._done)
