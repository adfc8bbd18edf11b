"""An audit's findings as rows: for people a table, for programs all that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from flows.audits.perform import Audited

#: of the table
COLUMNS: Final = ("model", "defense", "verdict", "what was found", "cost")


def as_text(audited: Audited) -> dict[str, str]:
    """Return a finding as a row of a table."""
    finding = audited.finding
    saved = "" if audited.saved is None else f"; weights in {audited.saved.name}"
    found = f"{finding.said}{saved}"
    cells = (audited.stored.uri, finding.outcome.name, finding.verdict, found, finding.cost)
    return dict(zip(COLUMNS, cells, strict=True))


def as_values(audited: Audited) -> dict[str, Any]:
    """Return a finding as JSON values."""
    finding = audited.finding
    return {
        "model": audited.stored.uri,
        "defense": finding.outcome.name,
        "verdict": finding.verdict,
        "flagged": finding.flagged,
        "outcome": finding.outcome.model_dump(mode="json"),
        "measured": dict(finding.measured),
        "seconds": round(finding.seconds, 3),
        "saved": None if audited.saved is None else str(audited.saved),
    }


def summary(done: Sequence[Audited]) -> str:
    """Return a sentence on what came of all of it."""
    models = {one.stored.uri for one in done}
    flagged = {one.stored.uri for one in done if one.finding.flagged}
    unheard = sum(one.finding.unheard for one in done)
    told = f"{len(flagged)} of {len(models)} models flagged"
    return told if not unheard else f"{told}; {unheard} of {len(done)} times a defense failed or ran into its limit"
