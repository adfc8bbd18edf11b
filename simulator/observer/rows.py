"""From a committed period to a line of `periods.jsonl`: flat, and every null with its reason."""

from __future__ import annotations

from typing import Any

from simulator.observer.derive import NET
from simulator.observer.measures import MEASURES, Measure
from simulator.production.registry.base import Entry
from simulator.records import Action, PeriodRecord, Reading

Row = dict[str, Any]

_IN_TABLE = {item.reading for item in MEASURES}


def row_of(entry: Entry) -> Row:
    """Return the line of a period. `reasons` has exactly one text for every null beside it.

    `twin` is true for every control; `control` says which (`none`, `paced`, `free`). Readings are of the version that
    serves after the period, those of third-party probes under their own names; `candidate_*` are those of a candidate
    that was not promoted. `from_outside` lists what an operator did to the arm just before the period: `kind` (`roll
    back`, `retrain`), `to`, `reason`, `numbers`. Versions are given by their ordinals, from 0; `number` is what the
    registry calls the one that serves, from 1.
    """
    record = entry.record
    readings = {item.key: _reading(item, record) for item in MEASURES if item.reading is not None}
    readings |= {name: reading for name, reading in record.readings.items() if name not in _IN_TABLE}
    row = _facts(entry) | {key: reading.value for key, reading in readings.items()}
    row |= _candidate(record) | _beside(entry)
    reasons = {key: reading.reason for key, reading in readings.items()} | _why(record)
    return row | {"reasons": {key: reasons[key] for key, value in row.items() if value is None}}


def _facts(entry: Entry) -> Row:
    record = entry.record
    return {
        "arm": record.arm,
        "twin": record.control != "none",
        "control": record.control,
        "period": record.period,
        "version": record.version,
        "number": entry.metadata.get("number", record.version + 1),
        "parent": record.parent,
        "retrained": record.candidate is not None,
        "promoted": record.judgement.action == "promoted",
        "action": record.judgement.action,
        "action_why": record.judgement.why,
        "action_numbers": dict(record.judgement.numbers),
        "judged": record.judgement.judged,
        "challenger": record.challenger,
        "from_outside": [_operator_action(action) for action in record.actions],
        "decision_why": record.decision.why,
        "poison_rate": record.arrival.poison_rate,
        "recycled": record.arrival.recycled,
        "true_drift": dict(record.arrival.true_drift),
        "drift_method": record.signal.method,
        "drift_score": record.signal.score,
        "drift_threshold": record.signal.threshold,
        "drift_alarm": record.signal.alarm,
    }


def _operator_action(action: Action) -> Row:
    return {name: getattr(action, name) for name in ("kind", "to", "reason")} | {"numbers": dict(action.numbers)}


def _candidate(record: PeriodRecord) -> Row:
    """The candidate's own numbers, where it was not promoted; nothing where there are none."""
    row: Row = {"candidate": record.candidate}
    for item in MEASURES:
        reading = record.candidate_readings.get(item.reading or "")
        if reading is not None and reading.value is not None:
            row[f"candidate_{item.key}"] = reading.value
    return row


def _beside(entry: Entry) -> Row:
    return {
        "outcomes": [outcome.model_dump(mode="json") for outcome in entry.record.outcomes],
        "training": dict(entry.record.training),
        "timing": {stage: float(seconds) for stage, seconds in dict(entry.metadata.get("timing", {})).items()},
        "defense_seconds": dict(entry.metadata.get("defense_seconds", {})),
        **{key: entry.metadata[key] for key in ("device_memory_bytes",) if key in entry.metadata},
        "model_uri": dict(entry.metadata.get("ids", {})).get("uri"),
    }


def _reading(item: Measure, record: PeriodRecord) -> Reading:
    found = record.readings.get(item.reading or "")
    if found is not None:
        return found
    if record.control != "none" and item.reading in NET:
        return Reading.undefined("this line is a control itself; nothing is subtracted from it")
    return Reading.undefined(item.absent)


def _why(record: PeriodRecord) -> dict[str, str]:
    method = record.signal.method
    return {
        "parent": "the base model has no parent",
        "candidate": f"nothing was trained: {record.decision.why}",
        "judged": "there was neither a candidate nor a challenger",
        "challenger": "no version is in shadow",
        "drift_score": f"the monitor gave no score ({method})",
        "drift_threshold": f"the monitor gave no threshold ({method})",
        "model_uri": "no version was registered in MLflow in this period",
    }
