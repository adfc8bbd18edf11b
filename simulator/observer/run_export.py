"""A run as its exported files hold it: tables, plots and the report need no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: name -> what it holds
FILES = {
    "report.html": "this report",
    "periods.jsonl": "one line per arm, twin and period, with every reading and its reason where it has none",
    "summary.json": "survival, exposure and final figures by arm",
    "scenario.yaml": "the scenario after defaults; it can be run again",
}


@dataclass(frozen=True, slots=True)
class RunExport:
    """A run as files hold it: plain JSON values, all that tables, plots and the report read.

    `rows` are the lines of `periods.jsonl` of committed periods, arms before their twins; `about` holds the run's name,
    environment, links.
    """

    scenario: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, in the scenario's order."""
        return tuple(self.summary["arms"])

    def lineage(self, arm: str, control: str = "none") -> list[Mapping[str, Any]]:
        """Return the periods of an arm or of one of its twins, in order; empty when there is no such lineage."""
        return [row for row in self.rows if row["arm"] == arm and row["control"] == control]
