"""The contract of executors, which play the timelines of a study."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from simulator.errors import EbbdoorError
from simulator.study.timelines import Timeline

#: called with the name of a timeline when it starts; may be called from any thread
Tell = Callable[[str], None]


def silent(name: str) -> None:
    """Ignore the start of a timeline."""


@final
@dataclass(frozen=True, slots=True)
class TimelineEnd:
    """How a timeline ended: complete in the study's folder (`error` is None), or failed with a sentence."""

    name: str
    error: EbbdoorError | None = None


class Executor(ABC):
    """Plays whole timelines with `play.play_here`, in this process or others.

    All executors give equal canonical records, but `Cohort`, which gives close ones. A timeline that is complete lies
    in the study's folder, where `play.read_timeline` finds it.
    """

    @abstractmethod
    def play(
        self, todo: Sequence[Timeline], folder: Path, cache: Path | None, tell: Tell = silent
    ) -> Generator[TimelineEnd, None, None]:
        """Play `todo` into the study's `folder` and yield the end of each, in the order in which they end.

        `cache` is the folder of trainings and readings that all processes share; None: nothing is cached. A timeline
        that fails does not stop the others. Closing the iterator (Ctrl-C) ends the timelines that are being played.
        Raises `WorkerError` where nothing can be played at all.
        """
