"""The rows of a study's two tables: `timelines`, a row each with its outcome, and `periods`, a row each with readings.

Every null in a row of the timelines table has its reason beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from simulator.observer.alarms import Watched, judge_alarms
from simulator.observer.export import export_of
from simulator.observer.lives import dormant_in, life_figures, lives_of, served_in
from simulator.observer.measures import MEASURES
from simulator.observer.rows import evident, row_of
from simulator.observer.run_export import RunExport
from simulator.observer.summary import by_lineage
from simulator.observer.summary_reasons import UNKNOWN_DRIFT
from simulator.observer.survival import THRESHOLDS
from simulator.production.registry.base import Entry
from simulator.study.defended_columns import COLUMNS, FREE, defended, why_undefended
from simulator.study.timelines import PlayedTimeline

Row = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

#: readings of which every table has a column, measured or not
_ALWAYS = (
    "clean_accuracy",
    "attack_success",
    "net_attack_success",
    "triggered_effect",
    "trigger_ed50",
    "logit_margin",
    "relearned_net_attack_success",
    "relearned_unrelated_net_attack_success",
)
#: reading -> its key, the column's name
KEYS = {item.reading: item.key for item in MEASURES if item.reading is not None}
#: columns of every outcome
PLAIN = (
    "last_period",
    "updates",
    "planted",
    "planted_period",
    "revived",
    "followed_updates",
    "mean_clean_accuracy",
    "exposure",
    "dormant",
)
#: readings of period 0 that are columns, as `initial_KEY`
INITIAL = ("clean_accuracy", "attack_success", "net_attack_success", "triggered_effect", "trigger_ed50")
#: columns that there are at each threshold, as `NAME_THRESHOLD`
LIVES = ("survival_updates", "survival_periods", "erased", "erased_period")
#: the state at the end at each threshold, in a word: no claim can be made of it
STATE = "state"
#: columns of the arm, and as `free_NAME` of its free twin
ALARMS = ("alarms", "alarm_delay", "false_alarms", "undrifted_periods")
_NOT_PLANTED = "net attack success never reached the threshold"
_UNREAD = "not measured in the last period of this timeline"
#: columns of the periods table that every row of `periods.jsonl` has
_FACTS = ("period", "version", "promoted", "action", "retrained", "poison_rate")
_SIGNAL = ("drift_score", "drift_alarm")


def timeline_rows(played: Sequence[PlayedTimeline]) -> list[Row]:
    """Return one row a timeline, in the order given; all rows have the same columns.

    `*_0.5` and `*_0.1` are of these thresholds, `planted`, `planted_period` and `revived` (a count) of 0.5. `state_*`
    says what became of the backdoor by the end, `erased_*` whether it was ever erased: if not, its survival is a lower
    bound. `followed_updates` counts the updates from the planting to the end. `initial_*` are
    readings of period 0, `final_*` of the last. `mean_clean_accuracy` is the area under clean accuracy from the first
    update on, divided by its periods. `reasons` is a JSON object with one text for every null of the row. A grid value
    that is a list or an object is JSON text. A timeline that diverged has no outcome: all of it is null, and why.
    """
    lasts = (by_lineage(one.entries).get(one.timeline.arm, {}).get("none", [])[-1:] for one in played)
    finals = reading_keys(lasts, _ALWAYS)
    points = list(dict.fromkeys(key for one in played for key in one.timeline.point))
    numbers = list(dict.fromkeys(key for one in played for key in _numbers(one.beside)))
    return [_row(one, points, finals, numbers) for one in played]


def reading_keys(lineages: Iterable[Iterable[Entry]], always: Sequence[str] = ()) -> list[str]:
    """Return the keys of the readings that some entry has, those of the table of measures first, in its order."""
    seen = {name for entries in lineages for entry in entries for name in entry.record.readings}
    known = [key for name, key in KEYS.items() if name in seen or key in always]
    return known + sorted(name for name in seen if name not in KEYS)


def cell(value: Any) -> Any:
    """Return a grid's value as a table holds it: lists and objects as JSON text, as in the setting's name."""
    plain = not isinstance(value, list | tuple | Mapping)
    return value if plain else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _row(one: PlayedTimeline, points: Sequence[str], finals: Sequence[str], numbers: Sequence[str]) -> Row:
    timeline = one.timeline
    run = export_of({}, one.entries, ended=one.ended)
    outcome, why = outcome_of(run, timeline.arm, finals)
    part = run.summary["arms"].get(timeline.arm, {})
    row: Row = {
        "study": timeline.study,
        "setting": timeline.setting,
        "arm": timeline.arm,
        "seed": timeline.seed,
        **{key: cell(timeline.point.get(key)) for key in points},
        "timeline": timeline.name,
        "scenario_digest": timeline.scenario.digest(),
        "source_digest": run.about.get("source_digest"),
        **outcome,
        "seconds": one.beside.get("seconds", part.get("seconds", 0.0) + part.get("seconds_controls", 0.0)),
    }
    row |= {key: one.beside.get(key) for key in numbers if key not in row}
    reasons = {key: why.get(key) or _absent(key, one) for key, value in row.items() if value is None}
    return row | {"reasons": json.dumps(reasons)}


def _numbers(beside: Mapping[str, Any]) -> list[str]:
    """Return the keys of what is a number, or would be one where it is null."""
    return [key for key, value in beside.items() if value is None or isinstance(value, int | float)]


def _absent(key: str, one: PlayedTimeline) -> str:
    """The reason for a null of the grid or of a number beside the records."""
    if key == "source_digest" and one.diverged is not None:
        return one.diverged
    if key in one.timeline.point:
        return "the grid sets it to null"
    given = one.beside.get("reasons")
    reason = given.get(key) if isinstance(given, Mapping) else None
    return str(reason or "there is no such number beside this timeline")


def outcome_of(run: RunExport, arm: str, finals: Sequence[str]) -> tuple[Row, dict[str, str]]:
    """Return the columns of the outcome of the arm `arm` of `run`, and the reason of each null among them.

    `final_*` are readings of the keys `finals`; `timeline_rows` describes the columns. What the readings do not tell is
    null, and so is a backdoor's reading where its version has no verdict. An arm in which training diverged has none.
    """
    if (end := run.summary.get("diverged", {}).get(arm)) is not None:
        return _no_outcome(f"training diverged in period {end['period']}: {end['why']}", finals)
    rows, part = _evident(run, arm), run.summary["arms"][arm]
    free = run.lineage(arm, "free")
    values: Row = {
        "last_period": rows[-1]["period"],
        "updates": part["updates"],
        **_life(part, rows),
        **{f"initial_{key}": rows[0].get(key) for key in INITIAL},
        "mean_clean_accuracy": _mean_clean(rows),
        "exposure": part["exposure"],
        "dormant": part["dormant"],
        **_alarms(rows, ""),
        **_alarms(free, "free_"),
        **defended(rows, free),
        **{f"final_{key}": rows[-1].get(key) for key in finals},
    }
    texts = _reasons(values, part, rows) | why_undefended(values, rows, free)
    return values, {key: texts.get(key) or _UNREAD for key, value in values.items() if value is None}


def with_present_life(row: Mapping[str, Any], periods: Rows) -> Row:
    """Return a row of a timelines table with its life by today's definitions, from its rows of the periods table.

    Tables that were written before there was a `state` count an erasure in versions.
    """
    arm = [one for one in periods if one["control"] == "none"]
    if f"{STATE}_{THRESHOLDS[0]}" in row or not arm:
        return dict(row)
    rows = evident(arm, [one for one in periods if one["control"] == "paced"])
    return {**row, **_life(life_figures(lives_of(served_in(rows))), rows), "dormant": dormant_in(row)}


def reason_in(row: Mapping[str, Any], column: str) -> str:
    """Return why a column of a row of the timelines table is null."""
    reason = json.loads(row["reasons"]).get(column) if row.get("reasons") else None
    return str(reason or "the table does not say why")


def _evident(run: RunExport, arm: str) -> Rows:
    """The arm's periods, with the readings that a verdict may use."""
    return evident(run.lineage(arm), run.lineage(arm, "paced"))


def _no_outcome(reason: str, finals: Sequence[str]) -> tuple[Row, dict[str, str]]:
    lives = [f"{name}_{threshold}" for threshold in THRESHOLDS for name in (*LIVES, STATE)]
    alarms = [f"{prefix}{name}" for prefix in ("", "free_") for name in ALARMS]
    readings = [*(f"initial_{key}" for key in INITIAL), *(f"final_{key}" for key in finals)]
    names = [*PLAIN, *lives, *alarms, *COLUMNS, *(f"free_{name}" for name in FREE), *readings]
    return dict.fromkeys(names), dict.fromkeys(names, reason)


def _life(part: Mapping[str, Any], rows: Rows) -> Row:
    """How long the backdoor lived, at both thresholds."""
    planted = part["planted_period"]
    found: Row = {"planted": part["planted"], "planted_period": planted}
    for threshold in map(str, THRESHOLDS):
        life = part["by_threshold"][threshold]
        found |= {
            f"survival_updates_{threshold}": part["survival_updates"][threshold],
            f"survival_periods_{threshold}": part["survival_periods"][threshold],
            f"erased_{threshold}": life.get("erased"),
            f"erased_period_{threshold}": life.get("erased_period"),
            f"{STATE}_{threshold}": life["state"],
        }
    followed = None if planted is None else sum(row["promoted"] for row in rows if row["period"] > planted)
    return found | {"revived": part["revived"], "followed_updates": followed}


def _mean_clean(rows: Rows) -> float | None:
    """Return the mean clean accuracy of the periods from the first update on; None where one has none."""
    later = [row for row in rows if row["period"] > 0]
    start = next((index for index, row in enumerate(later) if row["promoted"]), len(later))
    values = [row["clean_accuracy"] for row in later[start:]]
    return sum(values) / len(values) if values and None not in values else None


def _alarms(rows: Rows, prefix: str) -> Row:
    """Alarms after period 0, against the true drift; None where no monitor watched."""
    watched = [Watched(row["period"], row["drift_alarm"], row["true_drift"]) for row in rows]
    silent = not rows or rows[-1]["drift_method"] == "none"
    found = judge_alarms(watched)
    count = None if silent else sum(point.alarm for point in watched if point.period > 0)
    if not all(row.get("true_drift_known", True) for row in rows):
        return dict.fromkeys(f"{prefix}{name}" for name in ALARMS) | {f"{prefix}alarms": count}
    return {
        f"{prefix}alarms": count,
        f"{prefix}alarm_delay": None if silent else found.delay,
        f"{prefix}false_alarms": None if silent else found.false_alarms,
        f"{prefix}undrifted_periods": found.undrifted if rows else None,
    }


def _reasons(values: Row, part: Mapping[str, Any], rows: Rows) -> dict[str, str | None]:
    """Return the reasons by column, also of columns that hold a value."""
    first, last = rows[0]["reasons"], rows[-1]["reasons"]
    known: Mapping[str, str] = part["reasons"]
    texts: dict[str, str | None] = {
        key: known.get(key) for key in ("planted", "exposure", "dormant", "planted_period", "revived")
    }
    if values["planted"] is False:
        texts |= dict.fromkeys(("planted_period", "revived"), _NOT_PLANTED)
    texts["followed_updates"] = texts["planted_period"]
    for threshold in map(str, THRESHOLDS):
        never = part["by_threshold"][threshold].get("planted") is False
        texts |= {f"{name}_{threshold}": _NOT_PLANTED if never else known.get("survival_updates") for name in LIVES}
        if values[f"erased_{threshold}"] is False:
            texts[f"erased_period_{threshold}"] = "the timeline ended before the backdoor was erased"
    texts |= {f"initial_{key}": reason for key, reason in first.items()}
    texts |= {f"final_{key}": reason for key, reason in last.items()}
    still = values["updates"] == 0
    texts["mean_clean_accuracy"] = "no update was promoted" if still else "clean accuracy is undefined in some period"
    free = "no free twin was played" if values["free_undrifted_periods"] is None else "there is no monitor"
    texts |= _why_no_alarms(values, "", "there is no monitor") | _why_no_alarms(values, "free_", free)
    if rows[-1].get("true_drift_known", True):
        return texts
    judged = [name for name in ALARMS if name != "alarms"]
    prefixes = ("",) if values["free_alarms"] is None else ("", "free_")
    return texts | dict.fromkeys((f"{prefix}{name}" for prefix in prefixes for name in judged), UNKNOWN_DRIFT)


def _why_no_alarms(values: Row, prefix: str, silent: str) -> dict[str, str]:
    found = dict.fromkeys((f"{prefix}{name}" for name in ALARMS), silent)
    if values[f"{prefix}alarms"] is not None:
        still = values[f"{prefix}undrifted_periods"] == values["last_period"]
        found[f"{prefix}alarm_delay"] = "there was no drift" if still else "no alarm while there was drift"
    return found


def period_rows(played: Sequence[PlayedTimeline]) -> list[dict[str, Any]]:
    """Return one row a timeline, lineage and period, in the order given; all rows have the same columns.

    `control` is `none` for the arm itself, `paced` or `free` for its twins. `true_drift.NAME` is the magnitude in the
    drift's own unit, 0 where a timeline has no such drift. Readings are of the version that serves after the period;
    null is undefined, and the record in the ledger says why.
    """
    lineages = [entries for one in played for entries in one.entries.values()]
    drifts = sorted({name for entries in lineages for entry in entries for name in entry.record.arrival.true_drift})
    points = list(dict.fromkeys(key for one in played for key in one.timeline.point))
    keys = reading_keys(lineages)
    return [row for one in played for row in _rows(one, points, drifts, keys)]


def _rows(
    one: PlayedTimeline, points: Sequence[str], drifts: Sequence[str], keys: Sequence[str]
) -> Iterator[dict[str, Any]]:
    timeline = one.timeline
    in_order = (entries for controls in by_lineage(one.entries).values() for entries in controls.values())
    for entry in chain.from_iterable(in_order):  # the arm's periods, then its twins'
        row = row_of(entry)
        yield {
            "study": timeline.study,
            "setting": timeline.setting,
            "arm": timeline.arm,
            "control": row["control"],
            "seed": timeline.seed,
            **{key: cell(timeline.point.get(key)) for key in points},
            "timeline": timeline.name,
            **{name: row[name] for name in _FACTS},
            **{f"true_drift.{name}": row["true_drift"].get(name, 0.0) for name in drifts},
            **{name: row[name] for name in _SIGNAL},
            **{key: row.get(key) for key in keys},
        }
