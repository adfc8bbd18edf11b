"""What the loop plays: a twin beside its arm, and a period that is played and read but not yet committed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from simulator.loop.stages import RunningLineage
from simulator.records import Arrival, Decision, Judgement, Outcome, Reading, Signal

Readings = dict[str, Reading]


@final
@dataclass(frozen=True, slots=True)
class Twin:
    """A control lineage. `replays`: its arm's decisions; `parallel`: in a process of its own, waiting for nothing."""

    lineage: RunningLineage
    replays: bool
    parallel: bool = False


@final
@dataclass(frozen=True, slots=True)
class Played:
    """A period of one lineage, played and read but not yet committed. Fields are those of `PeriodRecord`."""

    arrival: Arrival
    signal: Signal
    decision: Decision
    judgement: Judgement
    candidate: int | None
    outcomes: tuple[Outcome, ...]
    training: dict[str, Any]
    readings: Readings
    candidate_readings: Readings
