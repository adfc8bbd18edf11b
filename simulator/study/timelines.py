"""The timelines of a study: each is an arm at one grid point and one seed, with its twins, played by one process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, final

from simulator.production.registry.base import Entry
from simulator.records import LineageEnd
from simulator.scenario.model import Scenario


@final
@dataclass(frozen=True, slots=True)
class Timeline:
    """One timeline. `scenario` has one arm, `arm`; `point` maps the grid's dotted keys to this point's values.

    `setting` names arm and point (`Study`); `name` is safe in file names and unique in the study: the run's name.
    """

    study: str
    arm: str
    point: Mapping[str, Any]
    seed: int
    setting: str
    name: str
    scenario: Scenario

    def values(self) -> dict[str, Any]:
        """Return the timeline as JSON values, to send to another process."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "point": dict(self.point), "scenario": self.scenario.tree}

    @staticmethod
    def of(values: Mapping[str, Any]) -> Timeline:
        """Return the timeline of `values`."""
        return Timeline(**{**values, "scenario": Scenario.model_validate(dict(values["scenario"]))})


@final
@dataclass(frozen=True, slots=True)
class PlayedTimeline:
    """A timeline with its committed periods by lineage name (`arm`, `arm.twin`), as `loop.run.play` returns them.

    `beside` holds JSON values that are not part of any record: seconds, and the formula's columns (`formula_beside`).
    `ended`: the lineages whose training diverged.
    """

    timeline: Timeline
    entries: Mapping[str, list[Entry]]
    beside: Mapping[str, Any]
    ended: tuple[LineageEnd, ...] = ()

    @property
    def diverged(self) -> str | None:
        """Why the timeline has no outcome: training diverged in the arm itself; None where it did not."""
        own = next((end for end in self.ended if end.control == "none"), None)
        return None if own is None else f"training diverged in period {own.period}: {own.why}"
