"""What one timeline comes to: a row of values, and a reason for each that is null. Of exported rows alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.observer.alarms import Watched, judge_alarms
from simulator.observer.run_export import RunExport
from simulator.observer.survival import THRESHOLDS

__all__ = ["ALARMS", "INITIAL", "LIVES", "PLAIN", "Outcome", "outcome_of"]

Row = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

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
LIVES = ("survival_updates", "survival_periods", "censored", "erased_period")
#: columns of the arm, and as `free_NAME` of its free twin
ALARMS = ("alarms", "alarm_delay", "false_alarms", "undrifted_periods")
_NOT_PLANTED = "net attack success never reached the threshold"
_UNREAD = "not measured in the last period of this timeline"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The columns of a timeline's outcome, and the reason of each null among them."""

    values: Row
    reasons: Mapping[str, str]


def outcome_of(run: RunExport, arm: str, finals: Sequence[str]) -> Outcome:
    """Return what the arm `arm` of `run` came to, with `final_*` readings of the keys `finals`.

    `timeline_rows` describes the columns.
    """
    line, part = run.line(arm), run.summary["arms"][arm]
    values: Row = {
        "last_period": line[-1]["period"],
        "updates": part["updates"],
        **_life(part, line),
        **{f"initial_{key}": line[0].get(key) for key in INITIAL},
        "mean_clean_accuracy": _mean_clean(line),
        "exposure": part["exposure"],
        "dormant": part["dormant"],
        **_alarms(line, ""),
        **_alarms(run.line(arm, "free"), "free_"),
        **{f"final_{key}": line[-1].get(key) for key in finals},
    }
    texts = _reasons(values, part, line)
    return Outcome(values, {key: texts.get(key) or _UNREAD for key, value in values.items() if value is None})


def _life(part: Mapping[str, Any], line: Rows) -> Row:
    """How long the backdoor lived, at both thresholds."""
    planted = part["planted_period"]
    found: Row = {"planted": part["planted"], "planted_period": planted}
    for threshold in map(str, THRESHOLDS):
        life = part["by_threshold"][threshold]
        found |= {
            f"survival_updates_{threshold}": part["survival_updates"][threshold],
            f"survival_periods_{threshold}": part["survival_periods"][threshold],
            f"censored_{threshold}": life["censored"] if "planted_period" in life else None,
            f"erased_period_{threshold}": life.get("erased_period"),
        }
    followed = None if planted is None else _updates(row for row in line if row["period"] > planted)
    return found | {"revived": part["revived"], "followed_updates": followed}


def _updates(line: Iterable[Mapping[str, Any]]) -> int:
    return sum(row["promoted"] for row in line)


def _mean_clean(line: Rows) -> float | None:
    """Return the mean clean accuracy of the periods from the first update on; None where one has none."""
    later = [row for row in line if row["period"] > 0]
    start = next((index for index, row in enumerate(later) if row["promoted"]), len(later))
    values = [row["clean_accuracy"] for row in later[start:]]
    return sum(values) / len(values) if values and None not in values else None


def _alarms(line: Rows, prefix: str) -> Row:
    """Alarms after period 0, against the true drift; None where no monitor watched."""
    watched = [Watched(row["period"], row["drift_alarm"], row["true_drift"]) for row in line]
    silent = not line or line[-1]["drift_method"] == "none"
    found = judge_alarms(watched)
    return {
        f"{prefix}alarms": None if silent else sum(point.alarm for point in watched if point.period > 0),
        f"{prefix}alarm_delay": None if silent else found.delay,
        f"{prefix}false_alarms": None if silent else found.false_alarms,
        f"{prefix}undrifted_periods": found.undrifted if line else None,
    }


def _reasons(values: Row, part: Mapping[str, Any], line: Rows) -> dict[str, str | None]:
    """Return the reasons by column; those of columns that hold a value do no harm."""
    first, last = line[0]["reasons"], line[-1]["reasons"]
    net = last.get("net_attack_success")
    texts: dict[str, str | None] = {
        "planted": net,
        **{key: part["reasons"].get(key) for key in ("exposure", "dormant")},
    }
    unplanted = net or _NOT_PLANTED
    texts |= dict.fromkeys(("planted_period", "revived", "followed_updates"), unplanted)
    for threshold in map(str, THRESHOLDS):
        texts |= {f"{name}_{threshold}": unplanted for name in LIVES}
        if values[f"censored_{threshold}"]:
            texts[f"erased_period_{threshold}"] = "the timeline ended before the backdoor was erased"
    texts |= {f"initial_{key}": reason for key, reason in first.items()}
    texts |= {f"final_{key}": reason for key, reason in last.items()}
    still = values["updates"] == 0
    texts["mean_clean_accuracy"] = "no update was promoted" if still else "clean accuracy is undefined in some period"
    free = "no free twin was played" if values["free_undrifted_periods"] is None else "there is no monitor"
    return texts | _why_no_alarms(values, "", "there is no monitor") | _why_no_alarms(values, "free_", free)


def _why_no_alarms(values: Row, prefix: str, silent: str) -> dict[str, str]:
    found = dict.fromkeys((f"{prefix}{name}" for name in ALARMS), silent)
    if values[f"{prefix}alarms"] is not None:
        still = values[f"{prefix}undrifted_periods"] == values["last_period"]
        found[f"{prefix}alarm_delay"] = "there was no drift" if still else "no alarm while there was drift"
    return found
