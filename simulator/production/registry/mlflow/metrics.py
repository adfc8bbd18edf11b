"""What a period looks like in MLflow: metrics and tags, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.shown import shown_text
from simulator.production.registry.mlflow.tags import cut, safe_key
from simulator.production.registry.version_words import with_numbers
from simulator.records import Outcome, PeriodRecord, Reading
from simulator.validity import invalid


@dataclass(frozen=True, slots=True)
class Point:
    """One metric of a period; `version` is the ordinal of the version it is also a metric of."""

    key: str
    value: float
    version: int | None = None


def is_new(record: PeriodRecord) -> bool:
    """Whether the version that serves after this period came to serve in it: a promotion, or the base training."""
    return record.judgement.action == "promoted"


def judged_in(record: PeriodRecord) -> set[int]:
    """Return the versions that the gate spoke about: the period's candidate, or the challenger in shadow."""
    found = (record.candidate, record.judgement.judged, record.version if is_new(record) else None)
    return {ordinal for ordinal in found if ordinal is not None}


def points(record: PeriodRecord, metadata: Mapping[str, Any], before: PeriodRecord | None = None) -> list[Point]:
    """Return the metrics of a period. A reading without a value gives none: never 0.

    MLflow shows a metric's last point as its current value, and no point can be taken back. So what had a value in the
    period `before` and has none now gets one point NaN, on the run alone: versions have no undefined metric.

    On a version, a reading stands under its own name once, from its promotion: MLflow's search matches any step of a
    metric. Re-readings of a champion stand under `serving/...`, those of a refused candidate under `candidate/...`.
    """
    found = _of_readings("", record.readings, record.version if is_new(record) else None)
    if not is_new(record):
        found += _of_readings(tags.SERVING, record.readings, record.version)
    if record.candidate is not None and not is_new(record):
        found += _of_readings(tags.CANDIDATE, record.candidate_readings, record.candidate)
    plain = {**_numbers(record), **_cost(metadata)}
    found += [Point(safe_key(key), float(value)) for key, value in plain.items() if _is_number(value)]
    return found if before is None else found + _undefined_since(record, before)


def undefined_tags(record: PeriodRecord, before: PeriodRecord | None = None) -> dict[str, str]:
    """Return, for each reading without a value, a tag that says why, and one where the version has no verdict.

    What was so in the period `before` and is not any more gets a tag that says so: the old one would stand.
    """
    then = {} if before is None else _undefined(before)
    again = dict.fromkeys(then, "not since this period")
    found = {**again, **_undefined(record)}
    return {safe_key(key): cut(f"period {record.period}: {why}") for key, why in found.items()}


def _undefined(record: PeriodRecord) -> dict[str, str]:
    """What has no value in a period and why, by the names of the tags."""
    found = {
        f"{tags.UNDEFINED}{name}": str(reading.reason)
        for name, reading in record.readings.items()
        if reading.value is None
    }
    why = invalid(record.readings)
    return found if why is None else {**found, tags.NO_VERDICT: why}


def version_tags(record: PeriodRecord, ordinal: int) -> dict[str, str]:
    """Return the tags that a version gets when the gate speaks about it: readings and what the gate did."""
    readings = record.readings if ordinal == record.version else record.candidate_readings
    why = invalid(readings)
    return {
        **({} if why is None else {tags.NO_VERDICT: cut(why)}),
        tags.GATE: cut(f"{record.judgement.action}: {record.judgement.why}"),
        **{safe_key(name): _text(reading) for name, reading in readings.items()},
    }


def outcomes_of(record: PeriodRecord, champion: int) -> dict[int, list[Outcome]]:
    """Return the outcomes of each version. `champion` served before this period."""
    made = record.version if record.candidate is None else record.candidate
    challenger = made if record.judgement.judged is None else record.judgement.judged
    subjects = {
        "window": made,
        "candidate": made,
        "challenger": challenger,
        "champion": champion,
        "serving": record.version,
    }
    found: dict[int, list[Outcome]] = {}
    for outcome in record.outcomes:
        found.setdefault(subjects[outcome.subject], []).append(outcome)
    return found


def outcome_tags(
    outcomes: list[Outcome], period: int, numbers: Mapping[int, int] = MappingProxyType({})
) -> dict[str, str]:
    """Return `outcome.<surface>.<name>` -> status, reason, period; `request.<kind>.<name>` -> what became of it.

    `shown.<surface>.<name>` says what images and scores lie among the version's files. A second one of the same name is
    numbered. `numbers`: MLflow's of the versions, by ordinal.
    """
    found: dict[str, str] = {}
    for outcome in outcomes:
        suffix = tags.ON_CHAMPION if outcome.subject == "champion" else ""
        said = f"{outcome.status}: {outcome.reason} (period {period})"
        _add(found, f"{tags.OUTCOME}{outcome.surface}.{outcome.name}{suffix}", said)
        if (shown := shown_text(outcome)) is not None:
            where = f"{tags.OUTCOMES_FILE}{period:04d}"
            _add(found, f"{tags.SHOWN}{outcome.surface}.{outcome.name}{suffix}", f"{shown} (see {where})")
        for asked in outcome.requests:
            became = "granted" if asked.granted else "refused"
            said = f"{became}: {asked.reason}; {with_numbers(asked.why, numbers)} (period {period})"
            _add(found, f"{tags.REQUEST}{asked.kind}.{outcome.name}", said)
    return found


def _add(found: dict[str, str], name: str, text: str) -> None:
    key = first = safe_key(name)
    number = 2
    while key in found:
        key, number = f"{first}.{number}", number + 1
    found[key] = cut(text)


def _of_readings(prefix: str, readings: Mapping[str, Reading], version: int | None) -> list[Point]:
    return [
        Point(safe_key(prefix + name), reading.value, version)
        for name, reading in readings.items()
        if reading.value is not None
    ]


def _undefined_since(record: PeriodRecord, before: PeriodRecord) -> list[Point]:
    """NaN for what the period `before` gave a value and this one names without one."""
    then = _of_the_run(before)
    return [
        Point(safe_key(key), math.nan)
        for key, value in _of_the_run(record).items()
        if value is None and then.get(key) is not None
    ]


def _of_the_run(record: PeriodRecord) -> dict[str, Any]:
    """What a period says of the lineage itself, with None for what is undefined."""
    readings = {name: reading.value for name, reading in record.readings.items()}
    again = {} if is_new(record) else {f"{tags.SERVING}{name}": value for name, value in readings.items()}
    return {**readings, **again, **_numbers(record)}


def _numbers(record: PeriodRecord) -> dict[str, Any]:
    signal, arrival, judgement = record.signal, record.arrival, record.judgement
    return {
        tags.DRIFT_SCORE: signal.score,
        tags.DRIFT_THRESHOLD: signal.threshold,
        tags.DRIFT_P_VALUE: signal.p_value,
        tags.DRIFT_ALARM: float(signal.alarm),
        **({} if signal.kind is None else {f"{tags.DRIFT_KIND}{signal.kind}": 1.0}),
        tags.POISON_RATE: arrival.poison_rate,
        **{f"{tags.TRUE_DRIFT}{name}": value for name, value in arrival.true_drift.items()},
        tags.GATE_PROMOTED: float(judgement.action == "promoted"),
        tags.GATE_RETRAINED: float(record.decision.retrain),
        tags.GATE_VERSION: record.version,
        **{f"{tags.GATE_NUMBERS}{name}": value for name, value in judgement.numbers.items()},
    }


def _cost(metadata: Mapping[str, Any]) -> dict[str, Any]:
    timing = dict(metadata.get("timing") or {})
    seconds = {f"{tags.COST}{stage}{tags.SECONDS}": seconds for stage, seconds in timing.items()}
    memory = metadata.get("device_memory_bytes")
    return seconds if memory is None else {**seconds, tags.DEVICE_MEMORY: float(memory)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _text(reading: Reading) -> str:
    return f"{reading.value:.6g}" if reading.value is not None else cut(f"undefined: {reading.reason}")
