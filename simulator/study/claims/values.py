"""The values that claims are weighed with, and each claim's outcome with every seed's value beside its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from simulator.study.model import ClaimSpec, Comparison
from simulator.study.rows import reason_in, timeline_rows
from simulator.study.statistics.values import Finding, Verdict
from simulator.study.timelines import PlayedTimeline

_SURVIVALS = ("survival_updates", "survival_periods")


@final
@dataclass(frozen=True, slots=True)
class Value:
    """One side at one seed: a number, or the reason why there is none.

    `ended` is False for a survival whose timeline ended first: the number is then a lower bound, and `state`
    tells what was known of the backdoor at the end (`simulator.observer.erasure`). `eligible` is False
    where the claim is not about this timeline, as where the backdoor was never planted.
    """

    number: float | None
    ended: bool = True
    reason: str | None = None
    eligible: bool = True
    state: str | None = field(default=None, compare=False)

    @staticmethod
    def undefined(reason: str) -> Value:
        """No number, for `reason`."""
        return Value(None, reason=reason)

    @staticmethod
    def excluded(reason: str) -> Value:
        """No number, because the claim is not about this timeline."""
        return Value(None, reason=reason, eligible=False)


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
        """Return a column of the timelines table; the survival of what was not erased is a lower bound."""
        row = self.columns.get((setting, seed))
        if row is None:
            return Value.excluded("not played")
        if name not in row:
            return Value.undefined(f"the timelines table has no column '{name}'")
        played = self.at(setting).get(seed)
        if played is not None and played.diverged is not None:
            return Value.undefined(played.diverged)
        found = row[name]
        if found is None or isinstance(found, str):
            return Value.undefined(
                f"'{name}' is undefined: {reason_in(row, name)}"
                if found is None
                else f"'{name}' is no number but '{found}'"
            )
        stem, _, threshold = name.rpartition("_")
        return Value(float(found), ended=stem not in _SURVIVALS or row[f"erased_{threshold}"])


@final
@dataclass(frozen=True, slots=True)
class SideValues:
    """A side of a comparison: what it is, in words; the settings it draws on; its value at each seed."""

    name: str
    settings: tuple[str, ...]
    by_seed: Mapping[int, Value]


@final
@dataclass(frozen=True, slots=True)
class Weighed:
    """Two sides, the finding (one - other), and `left_out`: seed -> why its pair does not count.

    `notes` are sentences on the values that do count.
    """

    finding: Finding
    one: SideValues
    other: SideValues
    left_out: Mapping[int, str]
    notes: tuple[str, ...] = ()

    @property
    def pairs(self) -> dict[int, tuple[Value, Value]]:
        """The pairs that count, by seed."""
        both = sorted(self.one.by_seed.keys() & self.other.by_seed.keys() - self.left_out.keys())
        return {seed: (self.one.by_seed[seed], self.other.by_seed[seed]) for seed in both}


@final
@dataclass(frozen=True, slots=True)
class JudgedClaim:
    """A claim as it was written, its values, its verdict, and the comparisons beside it, which have no verdict."""

    spec: ClaimSpec
    weighed: Weighed
    verdict: Verdict
    beside: tuple[tuple[Comparison, Weighed], ...] = ()


@final
@dataclass(frozen=True, slots=True)
class StudyVerdicts:
    """The claims of a study in its order, their p corrected over each family (Holm) and held against `alpha`."""

    study: str
    alpha: float
    claims: tuple[JudgedClaim, ...]
