"""The results of a study, setting by setting: the spread over the seeds, never a bare mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from simulator.observer.lives import HEADLINE
from simulator.observer.measures import DASH, show
from simulator.observer.survival import restricted_mean
from simulator.study.rows import STATE, Row, Rows, timeline_rows
from simulator.study.statistics.lifetimes import Lifetime
from simulator.study.timelines import PlayedTimeline

#: columns of the timelines table whose spread over the seeds a setting's row holds -> their titles
SPREADS = {
    "initial_attack_success": "ASR at first",
    "initial_net_attack_success": "net ASR at first",
    "final_net_attack_success": "net ASR at last",
    "final_triggered_effect": "triggered effect at last",
    "final_clean_accuracy": "clean accuracy at last",
    "mean_clean_accuracy": "clean accuracy, mean",
    "exposure": "exposure",
}
#: states at the end -> their titles in a table of texts, where they have a column of their own
_STATES = {"alive": "alive at the end", "erased": "erased at the end", "censored": "censored", "unknown": ""}
#: those that a table of texts has room for
_SHOWN = ("initial_net_attack_success", "final_net_attack_success", "final_triggered_effect", "mean_clean_accuracy")


def settings_rows(played: Sequence[PlayedTimeline]) -> list[Row]:
    """Return one row a setting, in the order in which settings first appear, of JSON values.

    `diverged` counts the timelines of `n` without an outcome, because training diverged. The other counts are of
    timelines too; None where net attack success is undefined in all of them: `planted`, `erased` (ever), `revived`, and
    by the state at the end `alive_at_end`, `erased_at_end`, `censored_at_end` (below the threshold in the last period
    alone) and `unknown_at_end`. `unknown` counts those whose planting or survival the readings do not tell: nothing of
    their survival counts here.
    `restricted_mean` is of the planted ones, in updates up to `horizon`, the shortest follow-up among
    them. `survival_updates` and the columns of `SPREADS` are `{"median", "low", "high", "n"}` over the seeds with a
    value, None without one; `survival_updates` has `"beyond"`, the names of those three that are lower bounds. All
    survival is at the threshold of 0.5.
    """
    return settings_of(timeline_rows(played))


def settings_of(rows: Rows) -> list[Row]:
    """Return the rows of the settings of a timelines table: see `settings_rows`."""
    return [_setting(name, mine) for name, mine in by_setting(rows).items()]


def settings_texts(settings: Rows) -> list[dict[str, str]]:
    """Return the settings' rows as texts: medians with the range over the seeds."""
    return [_texts(setting) for setting in settings]


def by_setting(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """Return the rows of a table by setting."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["setting"], []).append(row)
    return found


def lifetime_of(row: Mapping[str, Any], threshold: float = HEADLINE) -> Lifetime | None:
    """Return the survival in updates of a row of the timelines table; None where the backdoor was not planted."""
    updates = row[f"survival_updates_{threshold}"]
    return None if updates is None else Lifetime(updates, ended=row[f"erased_{threshold}"])


def show_column(column: str, value: float | None) -> str:
    """Return a value of the timelines table as a reader sees it."""
    if value is None:
        return DASH
    key = column.removeprefix("initial_").removeprefix("final_").removeprefix("mean_")
    try:
        return show(key, value)
    except KeyError:
        return f"{value:.2f}".removesuffix(".00")


def _setting(name: str, rows: Rows) -> Row:
    lives = [life for row in rows if (life := lifetime_of(row)) is not None]
    horizon = min((row["followed_updates"] for row in rows if row["followed_updates"] is not None), default=None)
    times, ended = [life.time for life in lives], [life.ended for life in lives]
    return {
        "setting": name,
        "arm": rows[0]["arm"],
        "seeds": [row["seed"] for row in rows],
        "n": len(rows),
        "diverged": sum(_diverged(row) for row in rows),
        **_counts(rows, lives),
        "horizon": horizon,
        "restricted_mean": None if not horizon or not lives else restricted_mean(times, ended, horizon),
        "survival_updates": bounded_spread(list(zip(times, ended, strict=True))),
        **{column: spread([row[column] for row in rows if row[column] is not None]) for column in SPREADS},
    }


def _diverged(row: Mapping[str, Any]) -> bool:
    return row["last_period"] is None


def is_unknown(row: Mapping[str, Any]) -> bool:
    """Whether the readings do not tell if the backdoor was planted, or how long it survived."""
    return not _diverged(row) and row["planted"] is not False and lifetime_of(row) is None


def _counts(rows: Rows, lives: Sequence[Lifetime]) -> Row:
    found = {
        "planted": sum(row["planted"] is True for row in rows),
        "unknown": sum(is_unknown(row) for row in rows),
        "erased": sum(life.ended for life in lives),
        "revived": sum(bool(row["revived"]) for row in rows),
        **{f"{state}_at_end": sum(row[f"{STATE}_{HEADLINE}"] == state for row in rows) for state in _STATES},
    }
    return dict.fromkeys(found) if all(row["planted"] is None for row in rows) else found


def spread(values: Sequence[float]) -> Row | None:
    """Return median, lowest, highest and how many they are, as a JSON object; None without a value."""
    if not values:
        return None
    return {"median": median(values), "low": min(values), "high": max(values), "n": len(values)}


def bounded_spread(values: Sequence[tuple[float, bool]]) -> Row | None:
    """Return the spread of numbers, each with whether it `ended`: else it is a lower bound.

    `beyond` names the figures that would differ if what did not end went on for ever. None without a number.
    """
    found = spread([number for number, _ in values])
    latest = spread([number if ended else math.inf for number, ended in values])
    if found is None or latest is None:
        return None
    return found | {"beyond": [name for name in ("low", "median", "high") if found[name] != latest[name]]}


def with_bounds(found: Mapping[str, Any], show: Callable[[float], str]) -> list[str]:
    """Return low, median and high of a `bounded_spread` as texts; lower bounds begin with `>`."""
    return [f"{'>' if name in found['beyond'] else ''}{show(found[name])}" for name in ("low", "median", "high")]


def _texts(setting: Mapping[str, Any]) -> dict[str, str]:
    planted, mean = setting["planted"], setting["restricted_mean"]
    return {
        "setting": setting["setting"],
        "planted": (DASH if planted is None else f"{planted} of {setting['n']}{_unknown(setting)}")
        + (f" ({setting['diverged']} diverged)" if setting["diverged"] else ""),
        "mean survival": DASH if mean is None else f"{mean:.1f} of {setting['horizon']}",
        "survival": DASH if planted is None else _life_text(setting["survival_updates"], setting["unknown"]),
        **{title: _at_the_end(setting, state) for state, title in _STATES.items() if title},
        "came back": f"{setting['revived']} of {planted}{_unknown(setting)}" if planted else DASH,
        **{SPREADS[column]: spread_text(column, setting[column], setting["n"]) for column in _SHOWN},
    }


def _at_the_end(setting: Mapping[str, Any], state: str) -> str:
    if not setting["planted"]:
        return DASH
    unknown = f", {setting['unknown_at_end']} unknown" if setting["unknown_at_end"] else ""
    return f"{setting[f'{state}_at_end']} of {setting['planted']}{unknown}"


def _unknown(setting: Mapping[str, Any]) -> str:
    return f", {setting['unknown']} unknown" if setting["unknown"] else ""


def _life_text(found: Mapping[str, Any] | None, unknown: int) -> str:
    if found is None:
        return "unknown" if unknown else "not planted"
    low, middle, high = with_bounds(found, "{:g}".format)
    text = middle if found["n"] == 1 else f"{middle} ({low} to {high})"
    return f"{text}, {unknown} unknown" if unknown else text


def spread_text(column: str, found: Mapping[str, Any] | None, n: int) -> str:
    """Return a `spread` of the column over `n` seeds as a text: median (lowest to highest), and of how many seeds."""
    if found is None:
        return DASH
    middle = show_column(column, found["median"])
    if found["n"] == 1:
        return middle if n == 1 else f"{middle} (1 of {n} seeds)"
    short = "" if found["n"] == n else f", {found['n']} of {n} seeds"
    return f"{middle} ({show_column(column, found['low'])} to {show_column(column, found['high'])}{short})"
