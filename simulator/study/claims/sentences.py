"""Verdicts as sentences, one a claim, and as `verdicts.json`, where every figure has each seed's values beside it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from simulator.study.claims.values import JudgedClaim, SideValues, StudyVerdicts, Weighed
from simulator.study.statistics.values import Finding, Interval

#: `Verdict.holds` -> word in sentences and tables
WORDS = {"yes": "holds", "no": "fails", "undecided": "undecided"}


def sentence(item: JudgedClaim) -> str:
    """Return the claim's verdict with its figures: `1 holds: SENTENCE (estimate ..., 95 % interval ...)`."""
    verdict = item.verdict
    claim = f"{item.spec.id} {WORDS[verdict.holds]}: {item.spec.sentence.rstrip('.')}"
    if verdict.finding.estimate is None:
        return f"{claim} ({verdict.reason})"
    ending = f"; {verdict.reason.partition(': ')[2]}{power_text(item)}" if verdict.holds == "undecided" else ""
    return f"{claim} ({figures(verdict.finding)}, corrected p {p_text(verdict.corrected_p)}; {asked(item)}{ending})"


def power_text(item: JudgedClaim) -> str:
    """Return the power of an undecided claim, after a semicolon; empty where it cannot be told."""
    power = item.verdict.power
    if power is None:
        return ""
    return f"; a repeat with n = {item.verdict.finding.n} would decide it in {100 * power:.0f} % of the cases"


def figures(finding: Finding) -> str:
    """Return estimate, interval with the level it truly has, and pairs."""
    if finding.estimate is None:
        return f"no estimate: {finding.reason}"
    unit = finding.claim.endpoint.unit
    return f"{amount(finding.estimate, unit)}, {interval_text(finding.interval, unit)}, n = {finding.n}"


def amount(value: float, unit: str) -> str:
    """Return a difference with its unit: of shares in percentage points, a share of seeds in per cent."""
    if unit == "of seeds":
        return f"{100 * value:.3g} % of seeds"
    if unit == "share":
        return f"{100 * value:.1f} points"
    return f"{value:.3g}" if unit in ("number", "rho", "ratio", "opacity") else f"{value:.3g} {unit}"


def asked(item: JudgedClaim) -> str:
    """Return what the claim asked for before the run."""
    claim = item.verdict.claim
    gate = amount(claim.gate, claim.endpoint.unit)
    if claim.direction == "within":
        return f"asked for no more than {gate} either way"
    return f"asked for {'more' if claim.direction == 'greater' else 'less'} than {gate}"


def simultaneous_text(finding: Finding) -> str:
    """Return the interval at the level at which all of the claim's family hold together."""
    return interval_text(finding.simultaneous or finding.interval, finding.claim.endpoint.unit)


def p_of(finding: Finding) -> str:
    """Return p, and where it was drawn by Monte Carlo the interval in which the exact one lies."""
    if finding.p_error is None:
        return p_text(finding.p)
    low, high = finding.p_error
    return f"{p_text(finding.p)} (drawn; the exact one lies from {low:.2g} to {high:.2g} with 99 % confidence)"


def interval_text(interval: Interval, unit: str) -> str:
    """Return an interval with the level it truly has, or why there is none."""
    if interval.low is None or interval.high is None or interval.level is None:
        return f"no interval: {interval.reason}"
    low = amount(interval.low, unit).partition(" ")[0]
    return f"{100 * interval.level:.4g} % interval {low} to {amount(interval.high, unit)}"


def p_text(p: float | None) -> str:
    """Return a p-value with two digits, or a dash."""
    return "–" if p is None else f"{p:.2g}"


def to_json(found: StudyVerdicts) -> dict[str, Any]:
    """Return the verdicts as JSON values. `holds` is `yes`, `no` or `undecided`; what is undefined is null."""
    return {"study": found.study, "alpha": found.alpha, "claims": [_claim(item) for item in found.claims]}


def _claim(item: JudgedClaim) -> dict[str, Any]:
    spec, verdict = item.spec, item.verdict
    return {
        "id": spec.id,
        "sentence": spec.sentence,
        "family": spec.family,
        "verdict": WORDS[verdict.holds],
        "holds": verdict.holds,
        "reason": verdict.reason,
        "power": verdict.power,
        "direction": spec.direction,
        "gate": spec.gate,
        "corrected_p": verdict.corrected_p,
        **_weighed(item.weighed),
        "published": spec.published,
        "beside": [{"note": one.note, **_weighed(weighed)} for one, weighed in item.beside],
    }


def _weighed(weighed: Weighed) -> dict[str, Any]:
    found = weighed.finding
    return {
        "endpoint": asdict(found.claim.endpoint),
        "one": _side(weighed.one),
        "other": _side(weighed.other),
        "pairs": found.n,
        "estimate": found.estimate,
        "interval": asdict(found.interval),
        "simultaneous": None if found.simultaneous is None else asdict(found.simultaneous),
        "p": found.p,
        "p_error": None if found.p_error is None else list(found.p_error),
        "smallest_p": found.smallest_p,
        "effects": asdict(found.effects),
        "left_out": {str(seed): why for seed, why in weighed.left_out.items()},
        "notes": list(weighed.notes),
        "undefined": found.reason,
    }


def _side(side: SideValues) -> dict[str, Any]:
    by_seed = {
        str(seed): {"number": value.number, "ended": value.ended, "reason": value.reason, "state": value.state}
        for seed, value in sorted(side.by_seed.items())
    }
    return {"name": side.name, "settings": list(side.settings), "by_seed": by_seed}
