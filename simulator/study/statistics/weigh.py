"""From the values of a study's arms to a verdict a claim: estimate, test, correct over the claims, decide."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from simulator.study.statistics.lifetimes import Lifetime, restricted_difference
from simulator.study.statistics.paired_tests import (
    METHOD,
    effects,
    holm,
    pair_by_seed,
    pairs_needed,
    sign_flip_interval,
    sign_flip_p,
    smallest_p,
)
from simulator.study.statistics.values import Claim, Effects, Finding, Interval, Kind, Verdict

_NO_PAIR = "no seed has a value in both arms"


def compare_values(
    claim: Claim,
    one: Mapping[int, float | None],
    other: Mapping[int, float | None] | float,
    level: float = 0.95,
) -> Finding:
    """Return what the paired differences one - other, seed by seed, say of `claim` (a `paired difference`).

    A number as `other` is the same reference for every seed ("survival against 8 updates"). None is undefined: its
    pair is left out and counted. Raises `ValueError` for unequal seeds, more than 20 pairs or another kind of endpoint.
    """
    _check_kind(claim, "paired difference")
    pairs, left_out = pair_by_seed(one, other if isinstance(other, Mapping) else dict.fromkeys(one, other))
    if not pairs:
        return without_values(claim, left_out, _NO_PAIR)
    differences = [a - b for a, b in pairs.values()]
    sizes = effects(differences)
    return Finding(
        claim=claim,
        estimate=sizes.mean,
        interval=sign_flip_interval(differences, level),
        p=sign_flip_p(differences, claim.gate),
        smallest_p=smallest_p(len(pairs)),
        effects=sizes,
        n=len(pairs),
        left_out=left_out,
    )


def compare_lifetimes(
    claim: Claim,
    one: Mapping[int, Lifetime | None],
    other: Mapping[int, Lifetime | None],
    level: float = 0.95,
) -> Finding:
    """Return what the difference one - other of restricted mean survival says of `claim` (a `restricted mean`).

    None is a backdoor that was not planted: its pair is left out and counted. Raises `ValueError` for unequal seeds,
    too many pairs (`restricted_difference`) or another kind of endpoint.
    """
    _check_kind(claim, "restricted mean")
    pairs, left_out = pair_by_seed(one, other)
    if not pairs:
        return without_values(claim, left_out, _NO_PAIR)
    horizon = claim.endpoint.horizon
    assert horizon is not None  # the endpoint's own rule
    mine, theirs = zip(*pairs.values(), strict=True)
    found = restricted_difference(mine, theirs, horizon, claim.gate, level)
    return Finding(
        claim=claim,
        estimate=found.difference,
        interval=found.interval,
        p=found.p,
        smallest_p=None if found.p is None else smallest_p(len(pairs)),
        effects=found.effects,
        n=len(pairs),
        left_out=left_out,
        reason=found.reason,
    )


def decide(findings: Sequence[Finding], alpha: float = 0.05) -> tuple[Verdict, ...]:
    """Return a verdict for each finding, p corrected over all of them by Holm's method, in the order given.

    `yes`: corrected p <= `alpha` (in (0, 1)) and the estimate lies beyond the gate; `no`: as sure, and it lies on the
    other side; `undecided`: the rest. Hand in every claim of the study: the correction is over what is handed in.
    """
    repeated = [name for name, count in Counter(item.claim.id for item in findings).items() if count > 1]
    if repeated or not 0 < alpha < 1:
        raise ValueError(
            f"expected one finding a claim and alpha in (0, 1), got {repeated or 'none'} twice and {alpha}; correct it"
        )
    corrected = holm({finding.claim.id: finding.p for finding in findings})
    return tuple(
        Verdict(finding, corrected[finding.claim.id], *_judged(finding, corrected[finding.claim.id], alpha, findings))
        for finding in findings
    )


def _judged(
    finding: Finding, corrected: float | None, alpha: float, findings: Sequence[Finding]
) -> tuple[Literal["yes", "no", "undecided"], str]:
    if corrected is None or finding.estimate is None or finding.p is None:
        return "undecided", finding.reason or "the endpoint is undefined"
    figures = (
        f"the estimate {finding.estimate:.4g} against the gate {finding.claim.gate:.4g}, corrected p {corrected:.2g}"
    )
    if corrected <= alpha:
        if finding.claim.beyond_gate(finding.estimate):
            return "yes", f"{figures}: beyond the gate"
        return "no", f"{figures}: on the other side of the gate"
    if finding.smallest_p is not None and math.isclose(finding.p, finding.smallest_p):
        return "undecided", f"{figures}: {_too_few(finding, alpha, len(findings))}"
    return "undecided", f"{figures}: the data do not tell on which side of the gate it lies"


def _too_few(finding: Finding, alpha: float, claims: int) -> str:
    needed = pairs_needed(alpha, claims)
    return f"{finding.n} pairs can give no smaller p; {needed} are enough, whatever the other {claims - 1} claims give"


def _check_kind(claim: Claim, kind: Kind) -> None:
    if claim.endpoint.kind != kind:
        raise ValueError(
            f"expected the endpoint of claim '{claim.id}' to be a {kind}, got a {claim.endpoint.kind}; "
            "the endpoint was fixed before the run, so estimate what it names"
        )


def without_values(claim: Claim, left_out: Iterable[int], reason: str) -> Finding:
    """Return the finding of a claim that cannot be weighed, for `reason`; it counts in the correction all the same."""
    interval = Interval(None, None, None, METHOD, reason)
    return Finding(claim, None, interval, None, None, Effects(None, None, None, reason), 0, tuple(left_out), reason)
