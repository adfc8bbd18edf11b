"""The timelines table: one row a timeline, all that it comes to, and for every null a reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from simulator.observer.alarms import Watched, judge_alarms
from simulator.observer.measures import MEASURES
from simulator.observer.rows import row_of
from simulator.observer.summary import by_line, summarise
from simulator.observer.survival import THRESHOLDS
from simulator.production.registry.base import Entry
from simulator.study.timelines import PlayedTimeline

__all__ = ["cell", "reading_keys", "timeline_rows"]

Row = dict[str, Any]

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
_INITIAL = ("clean_accuracy", "attack_success", "net_attack_success", "triggered_effect", "trigger_ed50")
_KEYS = {item.reading: item.key for item in MEASURES if item.reading is not None}
_LIVES = ("survival_updates", "survival_periods", "censored", "erased_period")
_NOT_PLANTED = "net attack success never reached the threshold"


def timeline_rows(played: Sequence[PlayedTimeline]) -> list[Row]:
    """Return one row a timeline, in the order given; all rows have the same columns.

    `*_0.5` and `*_0.1` are of these thresholds, `planted`, `planted_period` and `revived` (a count) of 0.5. A censored
    survival is a lower bound; `followed_updates` counts the updates from the planting to the end. `initial_*` are
    readings of period 0, `final_*` of the last. `mean_clean_accuracy` is the area under clean accuracy from the first
    update on, divided by its periods. `reasons` is a JSON object with one text for every null of the row. A grid value
    that is a list or an object is JSON text.
    """
    finals = reading_keys((_arm(one)[-1:] for one in played), _ALWAYS)
    points = list(dict.fromkeys(key for one in played for key in one.timeline.point))
    numbers = list(dict.fromkeys(key for one in played for key in _numbers(one.beside)))
    return [_row(one, points, finals, numbers) for one in played]


def reading_keys(lines: Iterable[Iterable[Entry]], always: Sequence[str] = ()) -> list[str]:
    """Return the keys of the readings that some entry has, those of the table of measures first, in its order."""
    seen = {name for line in lines for entry in line for name in entry.record.readings}
    known = [key for name, key in _KEYS.items() if name in seen or key in always]
    return known + sorted(name for name in seen if name not in _KEYS)


def cell(value: Any) -> Any:
    """Return a grid's value as a table holds it: lists and objects as JSON text."""
    return json.dumps(value, sort_keys=True) if isinstance(value, list | tuple | dict) else value


def _row(one: PlayedTimeline, points: Sequence[str], finals: Sequence[str], numbers: Sequence[str]) -> Row:
    timeline, line = one.timeline, _arm(one)
    first, last = row_of(line[0]), row_of(line[-1])
    part = summarise(one.entries)["arms"][timeline.arm]
    row: Row = {
        "study": timeline.study,
        "setting": timeline.setting,
        "arm": timeline.arm,
        "seed": timeline.seed,
        **{key: cell(timeline.point.get(key)) for key in points},
        "timeline": timeline.name,
        "scenario_digest": line[0].record.scenario,
        "source_digest": line[0].record.source,
        "last_period": line[-1].record.period,
        "updates": part["updates"],
        **_life(part, line),
        **{f"initial_{key}": first.get(key) for key in _INITIAL},
        "mean_clean_accuracy": _mean_clean(line),
        "exposure": part["exposure"],
        "dormant": part["dormant"],
        **_alarms(line, ""),
        **_alarms(by_line(one.entries)[timeline.arm].get("free", []), "free_"),
        **{f"final_{key}": last.get(key) for key in finals},
        "seconds": one.beside.get("seconds", part["seconds"] + part["seconds_controls"]),
    }
    row |= {key: one.beside.get(key) for key in numbers if key not in row}
    reasons = _reasons(row, part, first, last)
    return row | {"reasons": json.dumps({key: reasons.get(key) or _absent(key, one) for key in _nulls(row)})}


def _arm(one: PlayedTimeline) -> list[Entry]:
    """The arm's own periods."""
    return by_line(one.entries)[one.timeline.arm]["none"]


def _life(part: Mapping[str, Any], line: Sequence[Entry]) -> Row:
    """How long the backdoor lived, at both thresholds."""
    found: Row = {"planted": part["planted"], "planted_period": part["planted_period"]}
    by_threshold = part["by_threshold"]
    for threshold in map(str, THRESHOLDS):
        life = by_threshold[threshold]
        found |= {
            f"survival_updates_{threshold}": part["survival_updates"][threshold],
            f"survival_periods_{threshold}": part["survival_periods"][threshold],
            f"censored_{threshold}": life["censored"] if "planted_period" in life else None,
            f"erased_period_{threshold}": life.get("erased_period"),
        }
    planted = part["planted_period"]
    after = [e for e in line if e.record.period > planted] if planted is not None else None
    return found | {"revived": part["revived"], "followed_updates": None if after is None else _updates(after)}


def _updates(line: Iterable[Entry]) -> int:
    return sum(entry.record.judgement.action == "promoted" for entry in line)


def _mean_clean(line: Sequence[Entry]) -> float | None:
    """Return the mean clean accuracy of the periods from the first update on; None where one has none."""
    later = [entry for entry in line if entry.record.period > 0]
    start = next((i for i, entry in enumerate(later) if entry.record.judgement.action == "promoted"), len(later))
    values = [row_of(entry)["clean_accuracy"] for entry in later[start:]]
    return sum(values) / len(values) if values and None not in values else None


def _alarms(line: Sequence[Entry], prefix: str) -> Row:
    """Alarms after period 0, against the true drift; None where no monitor watched."""
    watched = [Watched(e.record.period, e.record.signal.alarm, e.record.arrival.true_drift) for e in line]
    silent = not line or line[-1].record.signal.method == "none"
    found = judge_alarms(watched)
    return {
        f"{prefix}alarms": None if silent else sum(point.alarm for point in watched if point.period > 0),
        f"{prefix}alarm_delay": None if silent else found.delay,
        f"{prefix}false_alarms": None if silent else found.false_alarms,
        f"{prefix}undrifted_periods": found.undrifted if line else None,
    }


def _numbers(beside: Mapping[str, Any]) -> list[str]:
    """Return the keys of what is a number, or would be one where it is null."""
    return [key for key, value in beside.items() if value is None or isinstance(value, int | float)]


def _nulls(row: Row) -> list[str]:
    return [key for key, value in row.items() if value is None]


def _reasons(row: Row, part: Mapping[str, Any], first: Row, last: Row) -> dict[str, str | None]:
    """Return the reasons by column; those of columns that hold a value do no harm."""
    given = part["reasons"]
    net = last["reasons"].get("net_attack_success")
    unplanted = net or _NOT_PLANTED
    texts: dict[str, str | None] = {"planted": net, "exposure": given.get("exposure"), "dormant": given.get("dormant")}
    texts |= dict.fromkeys(("planted_period", "revived", "followed_updates"), unplanted)
    for threshold in map(str, THRESHOLDS):
        texts |= {f"{name}_{threshold}": unplanted for name in _LIVES}
        if row[f"censored_{threshold}"]:
            texts[f"erased_period_{threshold}"] = "the timeline ended before the backdoor was erased"
    texts |= {f"initial_{key}": reason for key, reason in first["reasons"].items()}
    texts |= {f"final_{key}": reason for key, reason in last["reasons"].items()}
    texts["mean_clean_accuracy"] = (
        "no update was promoted" if row["updates"] == 0 else "clean accuracy is undefined in some period"
    )
    return texts | _why_no_alarms(row, "", "there is no monitor") | _why_no_alarms(row, "free_", _free(row))


def _free(row: Row) -> str:
    return "no free twin was played" if row["free_undrifted_periods"] is None else "there is no monitor"


def _why_no_alarms(row: Row, prefix: str, silent: str) -> dict[str, str]:
    names = [f"{prefix}{name}" for name in ("alarms", "alarm_delay", "false_alarms", "undrifted_periods")]
    found = dict.fromkeys(names, silent)
    if row[f"{prefix}alarms"] is not None:
        still = row[f"{prefix}undrifted_periods"] == row["last_period"]
        found[f"{prefix}alarm_delay"] = "there was no drift" if still else "no alarm while there was drift"
    return found


def _absent(key: str, one: PlayedTimeline) -> str:
    """Why a grid's value, a stranger's reading or a number beside the records is null."""
    if key in one.timeline.point:
        return "the grid sets it to null"
    if key.startswith("final_"):
        return "not measured in the last period of this timeline"
    given = one.beside.get("reasons")
    told = given.get(key) if isinstance(given, Mapping) else None
    return str(told or "there is no such number beside this timeline")
