"""What a study claims and what became of it: frozen values only.

A claim has one primary endpoint. Endpoint, direction and gate are fixed before the run; a `Verdict` adds what was
found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Direction = Literal["greater", "less"]
Kind = Literal["paired difference", "restricted mean"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The one quantity that decides a claim.

    `kind` says how it is estimated: the mean of paired differences, or the difference of two restricted mean survivals
    up to `horizon` (in `unit`; only for this kind, and necessary for it).
    """

    name: str
    definition: str
    unit: str
    kind: Kind = "paired difference"
    horizon: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"expected kind to be one of {', '.join(get_args(Kind))}, got '{self.kind}'; choose one")
        if (self.horizon is not None) != (self.kind == "restricted mean"):
            raise ValueError(
                f"expected a horizon for a restricted mean and for nothing else, got {self.horizon} for a {self.kind}; "
                "give the length of the follow-up that every timeline has"
            )
        if self.horizon is not None and not (math.isfinite(self.horizon) and self.horizon > 0):
            raise ValueError(f"expected horizon to be a finite number above 0, got {self.horizon}; correct it")


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: it holds where the endpoint is `greater` (or `less`) than `gate`, in the endpoint's unit.

    A gate other than 0 asks for more than a difference ("outlives it by 2 updates"), or bounds one ("a bigger trigger
    adds less than 3 updates": direction `less`, gate 3).
    """

    id: str
    sentence: str
    endpoint: Endpoint
    direction: Direction
    gate: float = 0.0

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("expected id to be a name, got an empty one; give each claim its own")
        if self.direction not in get_args(Direction):
            raise ValueError(f"expected direction to be 'greater' or 'less', got '{self.direction}'; choose one")
        if not math.isfinite(self.gate):
            raise ValueError(f"expected gate to be a finite number, got {self.gate}; give it in the endpoint's unit")

    def beyond_gate(self, estimate: float) -> bool:
        """Return whether `estimate` lies strictly on the claim's side of the gate."""
        return estimate > self.gate if self.direction == "greater" else estimate < self.gate


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval from `low` to `high`, both included, with the confidence `level` it truly has.

    `reason` says why `level` is below the one asked for, or why there is no interval (then the three are None); it is
    None otherwise. The level is of this interval alone, not corrected for the number of claims.
    """

    low: float | None
    high: float | None
    level: float | None
    method: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Effects:
    """Effect sizes of n paired differences, one minus other.

    `mean`: in the endpoint's unit. `standardised`: mean / standard deviation of the differences times Hedges' exact
    small-sample factor for n - 1 degrees of freedom; None for fewer than three differences, and where all are equal.
    `superiority`: share of pairs in which `one` is greater, ties counting half, in [0, 1]; 0.5 is no effect. `reason`
    says why one is None.
    """

    mean: float | None
    standardised: float | None
    superiority: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What the data say of one claim, before any correction.

    `p` is two-sided, of the hypothesis that the endpoint equals the gate; `smallest_p` the smallest that `n` pairs can
    give at all. `left_out`: seeds without a value in one of the arms. `estimate` and `p`
    are None where they are undefined; then `reason` says why.
    """

    claim: Claim
    estimate: float | None
    interval: Interval
    p: float | None
    smallest_p: float | None
    effects: Effects
    n: int
    left_out: tuple[int, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one claim: the finding, its p after correction over the claims, and whether it holds, with why.

    `no` means that the data contradict the claim, `undecided` that they do not decide it.
    """

    finding: Finding
    corrected_p: float | None
    holds: Literal["yes", "no", "undecided"]
    reason: str

    @property
    def claim(self) -> Claim:
        """The claim itself."""
        return self.finding.claim
