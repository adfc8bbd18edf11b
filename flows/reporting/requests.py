"""What defenses ask for, in Prefect: an event for each request, and a table of all of them.

The decision inside the flow stands: an event that is lost or never answered changes no number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

from prefect.events import emit_event

from flows.displays.base import Display
from flows.reporting.away import FlowContext
from simulator.loop.events import Event
from simulator.production.registry.base import Entry
from simulator.production.registry.version_words import version_words, with_numbers
from simulator.records import Asked, Outcome, PeriodRecord

#: the name of the event
REQUEST = "ebbdoor.defense.request"


@final
class Requests(Display[Event]):
    """Emits `REQUEST` for each request of a defense when a period of an arm, not of a twin, is committed.

    The resource is `ebbdoor.run.<run>.<arm>`; its labels `request` and `granted` are the kind, and `true` or `false`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._flow = FlowContext()

    def show(self, event: Event) -> None:
        record = event.record
        if event.kind != "period-committed" or record is None:
            return
        for outcome, asked in _asked(record):
            numbers = {record.version: event.detail.get("number", record.version + 1)}
            resource, payload = _resource(record, asked), _payload(record, outcome, asked, numbers)
            self._flow.call(emit_event, REQUEST, resource, payload=payload)


def all_requests(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return a row for each request of the arms' defenses, in order of arms and periods."""
    numbers: dict[str, dict[int, int]] = {}
    for one in entries:
        if one.record.control == "none":
            known = numbers.setdefault(one.record.arm, {})
            known[one.record.version] = one.metadata.get("number", one.record.version + 1)
    return [
        {
            "arm": record.arm,
            "period": record.period,
            "defense": outcome.name,
            "looked at": outcome.subject,
            "request": asked.kind,
            "of": _named(asked, numbers[record.arm]),
            "reason": asked.reason,
            "became": "granted" if asked.granted else "refused",
            "why": with_numbers(asked.why, numbers[record.arm]),
        }
        for record in (one.record for one in entries)
        for outcome, asked in _asked(record)
    ]


def _asked(record: PeriodRecord) -> Iterator[tuple[Outcome, Asked]]:
    if record.control == "none":
        yield from ((outcome, asked) for outcome in record.outcomes for asked in outcome.requests)


def _named(asked: Asked, numbers: Mapping[int, int]) -> str:
    """What the request names: a version, periods and rows, or what a recipe does otherwise."""
    version = [] if asked.to is None else [version_words(asked.to, numbers)]
    periods = [f"period {', '.join(map(str, asked.periods))}"] if asked.periods else []
    rows = [] if asked.rows is None else [f"{asked.rows} row{'s' if asked.rows != 1 else ''} of the window"]
    return "; ".join([*version, *periods, *rows, *(f"{key} {value}" for key, value in asked.recipe.items())]) or "–"


def _resource(record: PeriodRecord, asked: Asked) -> dict[str, str]:
    return {
        "prefect.resource.id": f"ebbdoor.run.{record.run}.{record.arm}",
        "prefect.resource.name": f"{record.run} {record.arm}",
        "request": asked.kind,
        "granted": str(asked.granted).lower(),
    }


def _payload(record: PeriodRecord, outcome: Outcome, asked: Asked, numbers: Mapping[int, int]) -> dict[str, Any]:
    about = {"run": record.run, "arm": record.arm, "period": record.period, "defense": outcome.name}
    said = {**asked.model_dump(mode="json"), "why": with_numbers(asked.why, numbers)}
    return {**about, "looked_at": outcome.subject, **said}
