"""Verdicts in sentences, one a claim: for a terminal, a report, a document."""

from __future__ import annotations

from simulator.study.claims.values import JudgedClaim, StudyVerdicts
from simulator.study.statistics.values import Finding, Interval

__all__ = ["WORDS", "asked", "figures", "interval_text", "p_text", "sentence", "sentences"]

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
    return f"{finding.estimate:.3g} {unit}, {interval_text(finding.interval)}, n = {finding.n}"


def asked(item: JudgedClaim) -> str:
    """Return what was asked for before the run."""
    unit = item.verdict.claim.endpoint.unit
    return f"asked for {item.spec.direction} than {item.spec.gate:g} {unit}"


def interval_text(interval: Interval) -> str:
    """Return an interval with its true level, or why there is none."""
    if interval.low is None or interval.high is None or interval.level is None:
        return f"no interval: {interval.reason}"
    return f"{100 * interval.level:.4g} % interval {interval.low:.3g} to {interval.high:.3g}"


def p_text(p: float | None) -> str:
    """Return a p-value with two digits, or a dash."""
    return "–" if p is None else f"{p:.2g}"
