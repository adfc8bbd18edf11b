"""What Prefect's UI shows of a study: progress, its settings, its verdicts, and where the report is.

Keys are fixed, so that each becomes a history over studies. A study does not end when Prefect is away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from prefect.artifacts import create_link_artifact, create_table_artifact

from flows.displays.base import Display, time_left
from flows.reporting.away import ProgressBar, unless_away
from simulator.study.changed_column import changed_of
from simulator.study.claims.sentences import to_json
from simulator.study.claims.weigh import verdicts
from simulator.study.model import Study
from simulator.study.progress import StudyEvent
from simulator.study.results import settings_rows, settings_texts
from simulator.study.run import changed_code_of
from simulator.study.timelines import PlayedTimeline


@final
class StudyProgress(Display[StudyEvent]):
    """Moves the flow run's progress bar with each timeline that ends."""

    def __init__(self, study: str) -> None:
        super().__init__()
        self._study = study
        self._bar = ProgressBar()

    def show(self, event: StudyEvent) -> None:
        percent = 100.0 * (event.found + event.computed + event.failed) / max(event.total, 1)
        if event.kind == "study-started":
            self._bar.begin(percent, self._study)
        elif event.kind != "timeline-started":
            self._bar.move(percent, description=f"{self._study}: {event.counts}{time_left(event)}")


def publish(study: Study, folder: Path, played: Sequence[PlayedTimeline]) -> None:
    """Store one row a setting (medians with the range over the seeds), one a claim, and the report's path.

    `played` are the timelines that are complete. The report, which nothing serves, may be missing.
    """
    settings = settings_texts(settings_rows(played)) if played else []
    unless_away(create_table_artifact, settings, key="study-settings", description=f"{study.name}: its settings.")
    claims = [_verdict(claim) for claim in to_json(verdicts(study, played))["claims"]]
    unless_away(create_table_artifact, claims, key="study-verdicts", description=f"{study.name}: its claims.")
    changed = changed_of(played, changed_code_of(folder))
    if changed:
        what = f"{study.name}: timelines that were kept although code or data had been changed since."
        unless_away(create_table_artifact, changed, key="study-changed-code", description=what)
    report = folder / "report.html"
    if report.exists():
        unless_away(create_link_artifact, str(report), link_text="the report", key="report", description=study.name)


def _verdict(claim: Mapping[str, Any]) -> dict[str, Any]:
    figures = {name: claim[name] for name in ("estimate", "interval", "p", "corrected_p", "pairs")}
    return {"claim": claim["id"], "holds": claim["holds"], **figures, "reason": claim["reason"] or claim["undefined"]}
