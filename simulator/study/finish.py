"""What is made of complete timelines: one place calls all that reports on a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.study.claims.sentences import sentences, to_json
from simulator.study.claims.weigh import verdicts
from simulator.study.model import Study
from simulator.study.results import settings_rows, settings_texts
from simulator.study.tables import write_tables
from simulator.study.timelines import PlayedTimeline
from simulator.system.files import write_json

__all__ = [
    "VERDICTS",
    "settings_rows",
    "settings_texts",
    "verdict_lines",
    "verdicts_of",
    "write_results",
]

VERDICTS = "verdicts.json"


def write_results(study: Study, folder: Path, played: Sequence[PlayedTimeline]) -> list[Path]:
    """Write tables, verdicts and report of what was `played`, if anything was, into the folder; return the paths."""
    from simulator.study.report.html import write_report  # draws pictures

    if not played:
        return []
    judged = verdicts(study, played)
    return [
        *write_tables(folder, played).values(),
        write_json(folder / VERDICTS, to_json(judged)),
        write_report(folder, study, played, [claim.verdict for claim in judged.claims]),
    ]


def verdicts_of(study: Study, played: Sequence[PlayedTimeline]) -> Mapping[str, Any]:
    """Return the verdicts as JSON values."""
    return to_json(verdicts(study, played))


def verdict_lines(study: Study, played: Sequence[PlayedTimeline]) -> list[str]:
    """Return one line a claim."""
    return sentences(verdicts(study, played))
