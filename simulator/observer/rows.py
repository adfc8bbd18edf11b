"""From a committed period to a line of `periods.jsonl`: flat, and every null with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from simulator.observer.derive import NET
from simulator.observer.measures import MEASURES, Measure
from simulator.observer.remembered import remembered
from simulator.production.registry.base import Entry
from simulator.records import Action, LineageEnd, PeriodRecord, Reading
from simulator.validity import evidence, why_invalid

Row = dict[str, Any]

#: the `action` of a period in which training diverged
DIVERGED = "diverged"

_IN_TABLE = {item.reading for item in MEASURES}
_KEYS = {item.reading: item.key for item in MEASURES if item.reading is not None}


def row_of(entry: Entry) -> Row:
    """Return the line of a period. `reasons` has exactly one text for every null beside it.

    `twin` is true for every control; `control` says which (`none`, `paced`, `free`). Readings are of the version that
    serves after the period, those of third-party probes under their own names; `candidate_*` are those of a candidate
    that was not promoted. `from_outside` lists what an operator did to the arm just before the period: `kind` (`roll
    back`, `retrain`), `to`, `reason`, `numbers`. `class_rows` is there where attack success is not read over all source
    classes, or with a single row of one: the test rows of each. `replay` is there where a roll-back changed which rows
    may be replayed: the periods whose rows `left`, `returned` or were `kept`. `memory` is there where a defense wrote
    into its memory: its values, cut short, and the shapes of its tensors, by the defense's name. Versions are given by
    their ordinals, from 0; `number` is what the registry calls the one that serves, from 1.
    """
    record = entry.record
    readings = {item.key: _reading(item, record) for item in MEASURES if item.reading is not None}
    readings |= {name: reading for name, reading in record.readings.items() if name not in _IN_TABLE}
    row = _facts(entry) | {key: reading.value for key, reading in readings.items()}
    row |= _candidate(record) | _class_rows(record) | _beside(entry)
    row |= {} if record.replay is None else {"replay": record.replay.model_dump()}
    reasons = {key: reading.reason for key, reading in readings.items()} | _why(record)
    return row | {"reasons": {key: reasons[key] for key, value in row.items() if value is None}}


def row_of_end(end: LineageEnd) -> Row:
    """Return the line of a period that was never committed, because training diverged in it: it has no readings."""
    facts = {"arm": end.arm, "twin": end.control != "none", "control": end.control, "period": end.period}
    return facts | {"retrained": True, "promoted": False, "action": DIVERGED, "action_why": end.why, "reasons": {}}


def evidence_of(row: Mapping[str, Any], twin: Mapping[str, Any] | None = None) -> Row:
    """Return a line as a verdict may use it: a backdoor's reading is null where its version has no verdict.

    `twin` is the paced twin's line of the same period, where there is one. Lines exported before flags were recorded
    are taken as they are.
    """
    own, other = _why_invalid(row), None if twin is None else _why_invalid(twin)
    found, reasons = dict(row), dict(row.get("reasons", {}))
    if own is None and other is None:
        return found | {"reasons": reasons}
    for name, key in {**{key: key for key in row if "/" in key}, **_KEYS}.items():
        if row.get(key) is not None:
            reading = evidence(name, Reading.of(row[key]), own, other if name in NET else None)
            if reading.value is None:
                found[key], reasons[key] = None, reading.reason
    return found | {"reasons": reasons}


def evident(rows: Iterable[Mapping[str, Any]], twin: Iterable[Mapping[str, Any]] = ()) -> list[Row]:
    """Return an arm's lines as verdicts may use them; `twin` are its paced twin's, where there is one."""
    beside = {row["period"]: row for row in twin}
    return [evidence_of(row, beside.get(row["period"])) for row in rows]


def _why_invalid(row: Mapping[str, Any]) -> str | None:
    return why_invalid(row.get("collapsed"), row.get("better_than_chance"))


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
        "true_drift_known": record.arrival.file is None,
        "drift_method": record.signal.method,
        "drift_score": record.signal.score,
        "drift_threshold": record.signal.threshold,
        "drift_alarm": record.signal.alarm,
        **({} if record.signal.kind is None else {"drift_kind": record.signal.kind}),
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


def _class_rows(record: PeriodRecord) -> Row:
    """The test rows of each source class, where attack success is read without some class or with one row of it."""
    reading = record.readings.get("backdoor/attack_success")
    rows = None if reading is None else reading.class_rows
    return {} if rows is None else {"class_rows": {str(label): count for label, count in rows.items()}}


def _beside(entry: Entry) -> Row:
    memory = remembered(entry.record.state.get("platform", {}), entry.record.period)
    return {
        "outcomes": [outcome.model_dump(mode="json") for outcome in entry.record.outcomes],
        "training": dict(entry.record.training),
        "timing": {stage: float(seconds) for stage, seconds in dict(entry.metadata.get("timing", {})).items()},
        "defense_seconds": dict(entry.metadata.get("defense_seconds", {})),
        **({"memory": memory} if memory else {}),
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
