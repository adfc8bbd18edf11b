"""What Prefect's UI shows of a run beside its tasks: progress, versions, alarms, requests, the verdict, and links.

Keys are fixed, so that each becomes a history over runs. Where a reading is undefined, its reason is shown. A run does
not end when Prefect is away: what it does not take is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows.displays.base import Commits, Display
from flows.reporting.alarms import latest_alarms
from flows.reporting.away import ProgressBar, unless_away
from flows.reporting.requests import all_requests
from simulator.loop.events import Event
from simulator.observer.rows import DIVERGED
from simulator.production.registry.base import Entry
from simulator.records import LineageEnd, PeriodRecord, Reading
from simulator.validity import evidence, invalid

_SHOWN = {
    "clean accuracy": "clean/accuracy",
    "attack success": "backdoor/attack_success",
    "net attack success": "backdoor/net_attack_success",
}


@final
class Progress(Display[Event]):
    """Moves the flow run's progress bar with each period that a lineage commits."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = ProgressBar()
        self._periods = 1
        self._commits = Commits([""])

    def show(self, event: Event) -> None:
        if event.kind == "run-started":
            self._periods = event.detail["periods"] + 1
            self._commits = Commits(event.detail["lines"])
            self._bar.begin(0.0, event.run)
        elif event.kind == "lineage-ended":
            self._commits.end(event)
        elif event.record is not None:
            share = self._commits.add(event.record.lineage.name, event.period) / self._periods
            self._bar.move(min(100.0, 100.0 * share))


def publish_tables(run: str, entries: list[Entry], ended: Sequence[LineageEnd] = ()) -> None:
    """Store one row per arm and period (what served, what was done, what it read), and each arm's latest alarm.

    Of `ended`, where training diverged, a row says so. Where defenses asked for something, a table has their requests.
    """
    rows = [_row(entry) for entry in entries if entry.record.control == "none"]
    rows += [_row_of_end(end) for end in ended]
    served = f"{run}: the version that served after each period, and its readings."
    unless_away(create_table_artifact, rows, key="versions", description=served)
    alarms = f"{run}: the latest drift alarm of each arm."
    unless_away(
        create_table_artifact,
        latest_alarms([entry.record for entry in entries]),
        key="latest-alarm",
        description=alarms,
    )
    if requests := all_requests(entries):
        about = f"{run}: what defenses asked for, and what became of it."
        unless_away(create_table_artifact, requests, key="defense-requests", description=about)


def publish_end(run: str, verdict: str, links: Mapping[str, str], folder: Path) -> None:
    """Store links to the run in MLflow and to its report (a path: nothing serves it); the verdict with all links."""
    store = links.get("MLflow run") or links.get("MLflow store", "")
    report = str(folder / "report.html")
    for key, text, link in (("mlflow-run", "the run in MLflow", store), ("report", "the report", report)):
        if link:
            unless_away(create_link_artifact, link, link_text=text, key=key, description=run)
    listed = [f"- {name}: {_link(address)}" for name, address in {**links, "folder": str(folder)}.items()]
    text = "\n".join([f"# {run}", "", verdict, "", *listed])
    unless_away(create_markdown_artifact, text, key="verdict", description=run)


def _row(entry: Entry) -> dict[str, Any]:
    record = entry.record
    readings = {title: _evident(record, name) for title, name in _SHOWN.items()}
    return {
        "arm": record.arm,
        "period": record.period,
        "version": entry.metadata.get("number", record.version + 1),
        "action": record.judgement.action,
        **{
            title: "not read"
            if reading is None
            else reading.reason
            if reading.value is None
            else round(reading.value, 4)
            for title, reading in readings.items()
        },
    }


def _evident(record: PeriodRecord, name: str) -> Reading | None:
    """A reading as a verdict may use it: none of a backdoor where the model has collapsed or guesses."""
    reading = record.readings.get(name)
    return None if reading is None else evidence(name, reading, invalid(record.readings))


def _row_of_end(end: LineageEnd) -> dict[str, Any]:
    readings = dict.fromkeys(_SHOWN, end.why)
    return {"arm": end.lineage.name, "period": end.period, "version": "none", "action": DIVERGED, **readings}


def _link(address: str) -> str:
    return f"[{address}]({address})" if "://" in address else f"`{address}`"
