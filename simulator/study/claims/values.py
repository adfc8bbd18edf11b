"""What a study's timelines say of its claims: frozen values, with the values of every seed beside every figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from simulator.study.model import ClaimSpec, Comparison
from simulator.study.statistics.values import Finding, Verdict

__all__ = ["JudgedClaim", "SideValues", "StudyVerdicts", "Value", "Weighed"]


@final
@dataclass(frozen=True, slots=True)
class Value:
    """One side at one seed: a number, or the reason why there is none.

    `ended` is False for a survival whose timeline ended first: the number is then a lower bound.
    """

    number: float | None
    ended: bool = True
    reason: str | None = None

    @staticmethod
    def undefined(reason: str) -> Value:
        """No number, for `reason`."""
        return Value(None, reason=reason)


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

    `notes` say what a reader must know of the values that do count.
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
    """The claims of a study in its order, their p corrected over all of them (Holm) and held against `alpha`."""

    study: str
    alpha: float
    claims: tuple[JudgedClaim, ...]
