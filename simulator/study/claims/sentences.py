"""Verdicts in sentences, one a claim: for a terminal, a report, a document."""

from __future__ import annotations

from simulator.study.claims.values import JudgedClaim, StudyVerdicts
from simulator.study.statistics.values import Finding, Interval

__all__ = ["WORDS", "amount", "asked", "figures", "interval_text", "p_text", "sentence", "sentences"]

#: `Verdict.holds` -> as a reader sees it
WORDS = {"yes": "holds", "no": "fails", "undecided": "undecided"}


def sentences(found: StudyVerdicts) -> list[str]:
    """Return one line a claim."""
    return [sentence(item) for item in found.claims]


def sentence(item: JudgedClaim) -> str:
    """Return the claim's verdict with its figures: `1 holds: SENTENCE (estimate ..., 95 % interval ...)`."""
    verdict = item.verdict
    told = f"{item.spec.id} {WORDS[verdict.holds]}: {item.spec.sentence.rstrip('.')}"
    if verdict.finding.estimate is None:
        return f"{told} ({verdict.reason})"
    ending = f"; {verdict.reason.partition(': ')[2]}" if verdict.holds == "undecided" else ""
    return f"{told} ({figures(verdict.finding)}, corrected p {p_text(verdict.corrected_p)}; {asked(item)}{ending})"


def figures(finding: Finding) -> str:
    """Return estimate, interval with the level it truly has, and pairs."""
    if finding.estimate is None:
        return f"no estimate: {finding.reason}"
    unit = finding.claim.endpoint.unit
    return f"{amount(finding.estimate, unit)}, {interval_text(finding.interval, unit)}, n = {finding.n}"


def amount(value: float, unit: str) -> str:
    """Return a difference with its unit; of shares in percentage points."""
    if unit == "share":
        return f"{100 * value:.1f} points"
    return f"{value:.3g}" if unit in ("number", "rho", "ratio", "opacity") else f"{value:.3g} {unit}"


def asked(item: JudgedClaim) -> str:
    """Return what was asked for before the run."""
    return f"asked for {item.spec.direction} than {amount(item.spec.gate, item.verdict.claim.endpoint.unit)}"


def interval_text(interval: Interval, unit: str) -> str:
    """Return an interval with the level it truly has, or why there is none."""
    if interval.low is None or interval.high is None or interval.level is None:
        return f"no interval: {interval.reason}"
    low = amount(interval.low, unit).partition(" ")[0]
    return f"{100 * interval.level:.4g} % interval {low} to {amount(interval.high, unit)}"


def p_text(p: float | None) -> str:
    """Return a p-value with two digits, or a dash."""
    return "–" if p is None else f"{p:.2g}"
