"""Where timelines are played: the contract of every executor, and what it tells on the way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from simulator.errors import EbbdoorError
from simulator.study.timelines import Timeline

__all__ = ["Executor", "Tell", "TimelineEnd", "silent"]

#: told the name of a timeline that begins to be played
Tell = Callable[[str], None]


def silent(name: str) -> None:
    """Hear nothing."""


@final
@dataclass(frozen=True, slots=True)
class TimelineEnd:
    """How a timeline ended: complete in the study's folder (`error` is None), or failed with a sentence."""

    name: str
    error: EbbdoorError | None = None


class Executor(ABC):
    """Plays timelines wherever it does: every one by `play.play_here`, whole, in a process of its own thread count.

    Equal canonical records come from each. What is complete lies in the folder: `play.read_timeline` finds it.
    """

    @abstractmethod
    def play(
        self, todo: Sequence[Timeline], folder: Path, cache: Path | None, tell: Tell = silent
    ) -> Generator[TimelineEnd, None, None]:
        """Play `todo` into the study's `folder` and yield the end of each, in the order in which they end.

        `cache` is the folder of trainings and readings that all processes share; None: nothing is remembered. `tell`
        may be called from any thread. A timeline that fails does not keep the others from being played. Closing the
        iterator (Ctrl-C) ends what is under way; `WorkerError` where nothing can be played at all.
        """
