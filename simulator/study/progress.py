"""The progress of a study: counts and the time left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

Kind = Literal["study-started", "timeline-started", "timeline-finished", "timeline-failed", "study-finished"]


@final
@dataclass(frozen=True, slots=True)
class StudyEvent:
    """Something that a display may show.

    `total` timelines; `found` were complete before, `computed` are complete since, `failed` are not. `left`: seconds,
    None where it is not known yet. `timeline`, and `sentence` on what failed, where the event is about one.
    """

    kind: Kind
    total: int
    found: int
    computed: int = 0
    failed: int = 0
    left: float | None = None
    timeline: str = ""
    sentence: str = ""

    @property
    def counts(self) -> str:
        """Such as "computed 12 of 40 timelines, found 3"."""
        failed = f", failed {self.failed}" if self.failed else ""
        return f"computed {self.computed} of {self.total} timelines, found {self.found}{failed}"


Listen = Callable[[StudyEvent], None]


def ignore(event: StudyEvent) -> None:
    """The listener that does nothing."""


def time_left(seconds: float, ended: int, todo: int) -> float | None:
    """Return the seconds left after `ended` of `todo` timelines took `seconds`; None while none has ended."""
    return None if ended == 0 else seconds / ended * (todo - ended)
