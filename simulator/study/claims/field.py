"""The played timelines as claims ask for them: by setting and seed, each with its row of the timelines table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from simulator.study.claims.values import Value
from simulator.study.timeline_rows import timeline_rows
from simulator.study.timelines import PlayedTimeline

__all__ = ["Field"]

_SURVIVALS = ("survival_updates", "survival_periods")


@final
@dataclass(frozen=True, slots=True)
class Field:
    """The played timelines by setting and seed, and the columns of each."""

    by_setting: Mapping[str, Mapping[int, PlayedTimeline]]
    columns: Mapping[tuple[str, int], Mapping[str, Any]]

    @staticmethod
    def of(played: Sequence[PlayedTimeline]) -> Field:
        """Return the field of `played`, in its order."""
        found: dict[str, dict[int, PlayedTimeline]] = {}
        for one in played:
            found.setdefault(one.timeline.setting, {})[one.timeline.seed] = one
        rows = timeline_rows(played)
        return Field(found, {(row["setting"], row["seed"]): row for row in rows})

    def at(self, setting: str) -> Mapping[int, PlayedTimeline]:
        """Return the timelines of a setting by seed; none when it was not played."""
        return self.by_setting.get(setting, {})

    def column(self, setting: str, seed: int, name: str) -> Value:
        """Return a column of the timelines table; a censored survival is a lower bound, and not `ended`."""
        row = self.columns.get((setting, seed))
        if row is None:
            return Value.undefined("not played")
        if name not in row:
            return Value.undefined(f"the timelines table has no column '{name}'")
        found = row[name]
        if found is None or isinstance(found, str):
            return Value.undefined(
                f"'{name}' is undefined" if found is None else f"'{name}' is no number but '{found}'"
            )
        stem, _, threshold = name.rpartition("_")
        censored = stem in _SURVIVALS and row[f"censored_{threshold}"]
        return Value(float(found), ended=not censored)
