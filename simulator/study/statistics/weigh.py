"""From the values of a study's arms to a verdict a claim: estimate, test, correct over the claims' family, decide."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from simulator.study.statistics.lifetimes import Lifetime, restricted_difference
from simulator.study.statistics.paired_tests import (
    METHOD,
    MOST_PAIRS,
    SignFlips,
    effects,
    holm,
    pair_by_seed,
    pairs_needed,
    sign_flip_interval,
    sign_flips,
    smallest_p,
)
from simulator.study.statistics.shares import SHARE_METHOD, share_interval, share_p, smallest_share_p
from simulator.study.statistics.values import Claim, Effects, Finding, Holds, Interval, Kind, Verdict

_NO_PAIR = "no seed has a value in both arms"
_SHARE_EFFECTS = Effects(None, None, None, "a share has no standardised effect")


def compare_values(
    claim: Claim,
    one: Mapping[int, float | None],
    other: Mapping[int, float | None] | float,
    level: float = 0.95,
    together: float | None = None,
) -> Finding:
    """Return what the paired differences one - other, seed by seed, say of `claim` (a `paired difference`).

    A number as `other` is the same reference for every seed ("survival against 8 updates"). None is undefined: its
    pair is left out and counted. `together` is the level of the simultaneous interval. Raises `ValueError` for unequal
    seeds or another kind of endpoint.
    """
    _check_kind(claim, "paired difference")
    pairs, left_out = pair_by_seed(one, other if isinstance(other, Mapping) else dict.fromkeys(one, other))
    if not pairs:
        return without_values(claim, left_out, _NO_PAIR)
    differences = [a - b for a, b in pairs.values()]
    sizes = effects(differences)
    p, error = p_of_differences(claim, differences)
    return Finding(
        claim=claim,
        estimate=sizes.mean,
        interval=sign_flip_interval(differences, level),
        p=p,
        smallest_p=smallest_p(len(pairs)) / (2 if claim.direction == "within" else 1),
        effects=sizes,
        n=len(pairs),
        left_out=left_out,
        p_error=error,
        simultaneous=None if together is None else sign_flip_interval(differences, together),
    )


def p_of_differences(claim: Claim, differences: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Return the p of `claim` from the paired differences, and the interval of the exact p where it was drawn.

    An equivalence is tested by two one-sided tests (Schuirmann, J. Pharmacokinet. Biopharm. 1987) where the mean lies
    within the gates: the larger p of "at most -gate" and "at least gate". Where it lies beyond one, p is two-sided, of
    that gate.
    """
    if claim.direction != "within":
        flips = sign_flips(differences, claim.gate)
        return flips.two_sided, flips.error_of(flips.two_sided, 2)
    mean = sum(differences) / len(differences)
    above_low, below_high = sign_flips(differences, -claim.gate), sign_flips(differences, claim.gate)
    if claim.beyond_gate(mean):
        p = max(above_low.greater, below_high.less)
        return p, above_low.error_of(p, 1)
    beyond: SignFlips = below_high if mean > 0 else above_low
    return beyond.two_sided, beyond.error_of(beyond.two_sided, 2)


def weigh_share(
    claim: Claim, events: Mapping[int, bool | None], level: float = 0.95, together: float | None = None
) -> Finding:
    """Return what the share of seeds with the event says of `claim` (a `share`), whose gate is the share stated.

    None is a seed where the event is unknown: it is left out and counted. The test is the exact binomial one.
    """
    _check_kind(claim, "share")
    known = {seed: event for seed, event in events.items() if event is not None}
    left_out = tuple(sorted(events.keys() - known.keys()))
    if not known:
        return without_values(claim, left_out, "no seed has a value")
    count, total = sum(known.values()), len(known)
    return Finding(
        claim=claim,
        estimate=count / total,
        interval=share_interval(count, total, level),
        p=share_p(count, total, claim.gate),
        smallest_p=smallest_share_p(total, claim.gate),
        effects=_SHARE_EFFECTS,
        n=total,
        left_out=left_out,
        simultaneous=None if together is None else share_interval(count, total, together),
    )


def compare_lifetimes(
    claim: Claim,
    one: Mapping[int, Lifetime | None],
    other: Mapping[int, Lifetime | None],
    level: float = 0.95,
    together: float | None = None,
) -> Finding:
    """Return what the difference one - other of restricted mean survival says of `claim` (a `restricted mean`).

    None is a backdoor that was not planted: its pair is left out and counted. Raises `ValueError` for unequal seeds or
    another kind of endpoint.
    """
    _check_kind(claim, "restricted mean")
    pairs, left_out = pair_by_seed(one, other)
    if not pairs:
        return without_values(claim, left_out, _NO_PAIR)
    horizon = claim.endpoint.horizon
    assert horizon is not None  # the endpoint's own rule
    mine, theirs = zip(*pairs.values(), strict=True)
    found = restricted_difference(mine, theirs, horizon, claim.gate, level)
    wide = found.interval
    if together is not None and not found.lost:
        wide = restricted_difference(mine, theirs, horizon, claim.gate, together).interval
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
        p_error=found.p_error,
        simultaneous=None if together is None else wide,
    )


#: the power of a finding's claim at the level of its first step, None where it cannot be told
Power = Callable[[Finding, float], float | None]


def decide(findings: Sequence[Finding], alpha: float = 0.05, power: Power | None = None) -> tuple[Verdict, ...]:
    """Return a verdict for each finding, p corrected by Holm's method over its claim's family, in the order given.

    `yes`: corrected p <= `alpha` (in (0, 1)) and the estimate lies beyond the gate; `no`: as sure, and it lies on the
    other side; `undecided`: the rest, to which `power` adds the power at `alpha` / claims of the family. Hand in every
    claim of a family: the correction is over what is handed in.
    """
    repeated = [name for name, count in Counter(item.claim.id for item in findings).items() if count > 1]
    if repeated or not 0 < alpha < 1:
        raise ValueError(
            f"expected one finding a claim and alpha in (0, 1), got {repeated or 'none'} twice and {alpha}; correct it"
        )
    families = Counter(finding.claim.family for finding in findings)
    corrected: dict[str, float | None] = {}
    for family in families:
        corrected |= holm({one.claim.id: one.p for one in findings if one.claim.family == family})
    found: list[Verdict] = []
    for finding in findings:
        claims = families[finding.claim.family]
        verdict = Verdict(
            finding, corrected[finding.claim.id], *_judged(finding, corrected[finding.claim.id], alpha, claims)
        )
        if verdict.holds == "undecided" and power is not None:
            verdict = replace(verdict, power=power(finding, alpha / claims))
        found.append(verdict)
    return tuple(found)


def _judged(finding: Finding, corrected: float | None, alpha: float, claims: int) -> tuple[Holds, str]:
    if corrected is None or finding.estimate is None or finding.p is None:
        return "undecided", finding.reason or "the endpoint is undefined"
    gate = f"the gates ±{finding.claim.gate:.4g}" if finding.claim.direction == "within" else ""
    figures = (
        f"the estimate {finding.estimate:.4g} against {gate or f'the gate {finding.claim.gate:.4g}'}, "
        f"corrected p {corrected:.2g}"
    )
    if corrected <= alpha:
        inside = finding.claim.direction == "within"
        if finding.claim.beyond_gate(finding.estimate):
            return "yes", f"{figures}: {'within the gates' if inside else 'beyond the gate'}"
        return "no", f"{figures}: {'beyond the gates' if inside else 'on the other side of the gate'}"
    if finding.smallest_p is not None and math.isclose(finding.p, finding.smallest_p):
        return "undecided", f"{figures}: {_too_few(finding, alpha, claims)}"
    return "undecided", f"{figures}: the data do not tell on which side of the gate it lies"


def _too_few(finding: Finding, alpha: float, claims: int) -> str:
    if finding.claim.endpoint.kind == "share" or finding.n > MOST_PAIRS:
        return f"{finding.n} seeds can give no smaller p; play more"
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
    method = SHARE_METHOD if claim.endpoint.kind == "share" else METHOD
    interval = Interval(None, None, None, method, reason)
    return Finding(claim, None, interval, None, None, Effects(None, None, None, reason), 0, tuple(left_out), reason)
