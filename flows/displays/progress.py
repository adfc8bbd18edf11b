"""How far a run is and how long it still takes: what every display of a run under way knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from flows.displays.base import Commits, Display, about
from flows.displays.pace import Pace

if TYPE_CHECKING:
    from simulator.loop.events import Event


@final
class RunProgress:
    """Whole periods over all lineages: `done` of `total` (0 while the run is being opened), and the time by `pace`."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.total = 0
        self.done = 0.0
        self.finished = False
        self._commits = Commits([""])

    def hear(self, event: Event) -> None:
        """Note what an event says of the time line."""
        if event.kind == "run-started":
            self.total = event.detail["periods"] + 1
            self._commits = Commits(event.detail["lines"])
            self.pace.start(len(event.detail["lines"]))
        elif event.kind == "period-committed" and event.record is not None:
            self.done = self._commits.add(event.record.lineage.name, event.period)
            self.pace.commit(event.period, event.seconds, self._commits.todo(self.total))
        elif event.kind == "lineage-ended":
            self._commits.end(event)
        elif event.kind == "run-finished":
            self.finished = True
            self.pace.finish()

    @property
    def left(self) -> str:
        """Such as `about 40 s left`; before that can be known, the time that has passed."""
        left = self.pace.left()
        if left is None:
            return f"{about(self.pace.elapsed)} so far, time left not known yet"
        return f"about {about(left)} left"


class RunDisplay(Display["Event"]):
    """A display of a run, which keeps its progress beside it."""

    def __init__(self, progress: RunProgress) -> None:
        super().__init__()
        self.progress = progress

    def __call__(self, event: Event) -> None:
        """Note the progress, and show the event."""
        with self._lock:
            self.progress.hear(event)
            self.show(event)


@final
class Quiet(RunDisplay):
    """Shows nothing, and keeps the time."""

    def show(self, event: Event) -> None:
        return
