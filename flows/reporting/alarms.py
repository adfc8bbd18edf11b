"""Prefect events for drift alarms in live runs, so that an automation or an operator may react.

The decision inside the flow stands: an event that is lost or never answered changes no number.
"""

from __future__ import annotations

from typing import Any, final

from prefect.events import emit_event

from flows.displays.base import Display
from flows.reporting.away import FlowContext
from simulator.loop.events import Event
from simulator.records import PeriodRecord

#: the name of the event
ALARM = "ebbdoor.drift.alarm"


@final
class Alarms(Display[Event]):
    """Emits `ALARM` when a period of an arm, not of a twin, is committed with an alarm.

    The resource is `ebbdoor.run.<run>.<arm>`; its labels `live` and `retrained` are `true` or `false`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._flow = FlowContext()

    def show(self, event: Event) -> None:
        record = event.record
        if event.kind != "period-committed" or record is None or record.control != "none" or not record.signal.alarm:
            return
        self._flow.call(emit_event, ALARM, _resource(record), payload=_payload(record))


def latest_alarms(records: list[PeriodRecord]) -> list[dict[str, Any]]:
    """Return a row per arm: its latest alarm, or that there is none so far."""
    arms = dict.fromkeys(record.arm for record in records if record.control == "none")
    alarms = {record.arm: record for record in records if record.control == "none" and record.signal.alarm}
    return [_row(arm, alarms.get(arm)) for arm in arms]


def _row(arm: str, record: PeriodRecord | None) -> dict[str, Any]:
    if record is None:
        return {"arm": arm, "alarm": "none so far"}
    return {
        "arm": arm,
        "alarm": f"in period {record.period}",
        "method": record.signal.method,
        "score": _number(record.signal.score),
        "threshold": _number(record.signal.threshold),
        "kind": record.signal.kind or "none named",
        "what followed": record.decision.why,
    }


def _number(value: float | None) -> float | str:
    return "none given" if value is None else round(value, 4)


def _resource(record: PeriodRecord) -> dict[str, str]:
    return {
        "prefect.resource.id": f"ebbdoor.run.{record.run}.{record.arm}",
        "prefect.resource.name": f"{record.run} {record.arm}",
        "live": "true",
        "retrained": str(record.decision.retrain).lower(),
    }


def _payload(record: PeriodRecord) -> dict[str, Any]:
    signal = record.signal
    return {
        "run": record.run,
        "arm": record.arm,
        "period": record.period,
        "method": signal.method,
        "score": signal.score,
        "threshold": signal.threshold,
        "kind": signal.kind,
    }
