"""What a run tells its listeners, and how an executor (Prefect, a bench, a test) may wrap its stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from simulator.records import PeriodRecord

R = TypeVar("R")

#: the stages of a period, in order: what listeners are told of and executors may wrap
STAGES = (
    "ingest", "monitor", "decide", "filter", "train", "repair", "inspect", "gate", "register", "probe", "commit",
)  # fmt: skip

#: what an event says has happened
Kind = Literal["run-started", "stage-finished", "period-committed", "lineage-ended", "run-finished"]

#: one stage of one period, ready to run: called as function(arm, control, period)
Stage = Callable[[str, str, int], R]


class Wrap(Protocol):
    """Returns the stage `name` as an executor wants it run: as a Prefect task, timed, or as it is."""

    def __call__(self, name: str, stage: Stage[R], /) -> Stage[R]:
        """Return `stage`, wrapped; it is called once."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a display or a log may show. Events never carry the truth back into the loop."""

    kind: Kind
    run: str
    arm: str = ""
    control: str = "none"
    period: int = 0
    stage: str = ""
    seconds: float = 0.0
    record: PeriodRecord | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


Listen = Callable[[Event], None]


def plain(name: str, stage: Stage[R]) -> Stage[R]:
    """Run the stage as it is."""
    return stage


def ignore(event: Event) -> None:
    """Show nothing."""
