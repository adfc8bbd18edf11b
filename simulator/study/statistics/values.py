"""What a study claims and what became of it: frozen values only.

A claim has one primary endpoint. Endpoint, direction and gate are fixed before the run; a `Verdict` adds what was
found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Direction = Literal["greater", "less", "within"]
Kind = Literal["paired difference", "restricted mean", "share"]
Holds = Literal["yes", "no", "undecided"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The one quantity that decides a claim.

    `kind` says how it is estimated: the mean of paired differences; the difference of two restricted mean survivals up
    to `horizon` (in `unit`; only for this kind, and necessary for it); or the share of seeds in which something
    happened. `undefined` says how values that do not exist are treated.
    """

    name: str
    definition: str
    unit: str
    kind: Kind = "paired difference"
    horizon: float | None = None
    undefined: str = "left out, and counted"

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

    `within`: where the endpoint lies between -gate and gate, an equivalence. p is corrected over the claims of one
    `family`.

    A gate other than 0 asks for more than a difference ("outlives it by 2 updates"), or bounds one ("a bigger trigger
    adds less than 3 updates": direction `less`, gate 3).
    """

    id: str
    sentence: str
    endpoint: Endpoint
    direction: Direction
    gate: float = 0.0
    family: str = "A"

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("expected id to be a name, got an empty one; give each claim its own")
        if self.direction not in get_args(Direction):
            names = ", ".join(get_args(Direction))
            raise ValueError(f"expected direction to be one of {names}, got '{self.direction}'; choose one")
        if self.direction == "within" and not self.gate > 0:
            raise ValueError(f"expected the gate of an equivalence to be above 0, got {self.gate}; widen it")
        if not math.isfinite(self.gate):
            raise ValueError(f"expected gate to be a finite number, got {self.gate}; give it in the endpoint's unit")

    def beyond_gate(self, estimate: float) -> bool:
        """Return whether `estimate` lies strictly on the claim's side of the gate."""
        if self.direction == "within":
            return abs(estimate) < self.gate
        return estimate > self.gate if self.direction == "greater" else estimate < self.gate


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval from `low` to `high`, both included, with the confidence `level` it truly has.

    `reason` says why `level` is below the one asked for, or why there is no interval (then the three are None); it is
    None otherwise. `level` is of this interval alone.
    """

    low: float | None
    high: float | None
    level: float | None
    method: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Effects:
    """Effect sizes of n paired differences, one minus other.

    `mean`: in the endpoint's unit. `standardised` is d_z: mean / standard deviation of the *differences*, times Hedges'
    exact small-sample factor for n - 1 degrees of freedom; None for fewer than three differences, and where all are
    equal. It is no Hedges' g, which divides by the standard deviation within the arms.
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

    `p` is two-sided, of the hypothesis that the endpoint equals the gate; of an equivalence it is that of two one-sided
    tests where the estimate lies within the gates. `smallest_p` is the smallest that `n` pairs can give at all.
    `p_error`: where p was drawn by Monte Carlo, the interval in which the exact p lies. `left_out`: seeds without a
    value in one of the arms. `estimate` and `p` are None where they are undefined; then `reason` says why.
    `simultaneous`: the interval at the level of Bonferroni over the claim's family, so that all of them hold together.
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
    p_error: tuple[float, float] | None = None
    simultaneous: Interval | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one claim: the finding, its p after correction over its family, and whether it holds, with why.

    `no` means that the data contradict the claim, `undecided` that they do not decide it. `power`, of an undecided
    claim: the share of repeats with as many pairs that would decide it, if the differences spread as these did.
    """

    finding: Finding
    corrected_p: float | None
    holds: Holds
    reason: str
    power: float | None = None

    @property
    def claim(self) -> Claim:
        """The claim itself."""
        return self.finding.claim
