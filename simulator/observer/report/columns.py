"""The columns of periods: of the live display, of a log, of the tables at the end and of the report's page.

One definition, name and format each, always in this order; words carry the meaning, not colours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.observer.measures import DASH, percent, show, spans
from simulator.observer.rows import evidence_of

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, how a row of `periods.jsonl` fills it, and what it holds.

    `keys` are the row's keys whose reasons explain a dash. `width` is in characters; a terminal narrower than
    `from_width` leaves the column out.
    """

    title: str
    cell: Callable[[Row], str]
    width: int
    keys: tuple[str, ...]
    what: str
    from_width: int = 0
    left: bool = False


def _measured(key: str) -> Callable[[Row], str]:
    return lambda row: show(key, evidence_of(row).get(key))


def drift_text(row: Row) -> str:
    """Return the true drift with its names, by name: `brightness 0.1 + rotation 15`, or `none`.

    Of batches that arrive as files only what is injected is known.
    """
    parts = [f"{name} {value:.3g}" for name, value in sorted(row["true_drift"].items()) if value != 0]
    return " + ".join(parts) or _no_drift(row)


def _no_drift(row: Row) -> str:
    return "none" if row.get("true_drift_known", True) else "unknown"


def _drift(row: Row) -> str:
    values = [f"{value:.3g}" for _, value in sorted(row["true_drift"].items()) if value != 0]
    return "+".join(values) or _no_drift(row)


def done(row: Row) -> str:
    """Return what the platform did, in a word: `base`, or a judgement's action (`promoted`, `held` ...)."""
    return "base" if row["period"] == 0 else str(row["action"])


def _defenses(row: Row) -> str:
    telling = ("flagged", "changed", "failed", "timeout")
    decided = [f"{o['name']} {o['status']}" for o in row["outcomes"] if o["status"] in telling]
    return ", ".join(dict.fromkeys(decided)) or ("passed" if row["outcomes"] else "none")


def _seconds(row: Row) -> str:
    return f"{sum(row['timing'].values()):.1f}" if row["timing"] else DASH


def shown(row: Row) -> int:
    """Return the number that the registry shows of the version that serves; exports of before hold only its ordinal."""
    return int(row.get("number", row["version"] + 1))


def version_numbers(rows: Sequence[Row]) -> dict[int, int]:
    """Return, by ordinal, the registry's numbers of the versions that served."""
    return {row["version"]: shown(row) for row in rows}


COLUMNS: tuple[Column, ...] = (
    Column("period", lambda row: str(row["period"]), 6, (), "0 is the base training"),
    Column("drift", _drift, 7, (), "true drift, each in its own unit"),
    Column("poison", lambda row: percent(row["poison_rate"]) if row["poison_rate"] else "0", 6, (), "poisoned rows",
           78),
    Column("score", _measured("drift_score"), 6, ("drift_score",), "the monitor's drift score", 78),
    Column("alarm", lambda row: "ALARM" if row["drift_alarm"] else "no", 5, (), "the monitor's alarm", left=True),
    Column("did", done, 11, (), "what the platform did", left=True),
    Column("clean", _measured("clean_accuracy"), 6, ("clean_accuracy",), "clean accuracy"),
    Column("net ASR", _measured("net_attack_success"), 7, ("net_attack_success",), "attack success minus the twin's"),
    Column("version", lambda row: str(shown(row)), 7, (), "what serves afterwards"),
    Column("seconds", _seconds, 7, ("timing",), "wall-clock of the period", 78),
    Column("ASR", _measured("attack_success"), 6, ("attack_success",), "raw attack success", 100),
    Column("ED50", _measured("trigger_ed50"), 5, ("trigger_ed50",), "smallest opacity that works", 100),
    Column("re-learned", _measured("relearned_net_attack_success"), 10, ("relearned_net_attack_success",),
           "re-learned net ASR", 110),
    Column("defenses", _defenses, 20, (), "what they decided", 140, left=True),
    Column("kind", lambda row: row.get("drift_kind", ""), 11, (), "the kind of drift the monitor names", 160,
           left=True),
)  # fmt: skip


#: what a terminal without room for it all leaves out first; the others always stay
_LEAVE_OUT = (
    "kind", "defenses", "re-learned", "ED50", "ASR", "seconds", "poison", "score", "version", "drift", "alarm", "did",
)  # fmt: skip


#: readings of ebbdoor's own probes that others are made of, and that no table has
UNTABLED = frozenset({
    "backdoor/relearned_attack_success", "backdoor/relearned_attack_success_spread",
    "backdoor/relearned_unrelated_attack_success", "backdoor/relearned_unrelated_attack_success_spread",
    "backdoor/relearning_unrelated_area", "clean/largest_predicted_share",
})  # fmt: skip


def columns_for(width: int, rows: Sequence[Row] = ()) -> tuple[Column, ...]:
    """Return the columns that a terminal of `width` characters has room for, with the cells of `rows` in them.

    Period, clean accuracy and net ASR always stay. Readings of the user's own probes come last, and go before the
    version that serves does.
    """
    chosen = [column for column in COLUMNS if column.from_width <= width] + list(own_columns(rows))
    widths = {column.title: _needed(column, rows) for column in chosen}
    own = [column.title for column in reversed(chosen) if column not in COLUMNS]
    at = _LEAVE_OUT.index("version")
    for title in (*_LEAVE_OUT[:at], *own, *_LEAVE_OUT[at:]):
        if sum(widths[column.title] + 1 for column in chosen) <= width:
            break
        chosen = [column for column in chosen if column.title != title]
    return tuple(chosen)


def own_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """Return a column for each reading in `rows` that no probe of ebbdoor gives; its title is the reading's name."""
    names = dict.fromkeys(key for row in rows for key in row if "/" in key and key not in UNTABLED)
    return tuple(Column(name, _own(name), len(name), (name,), f"{name}, a reading of your own probe") for name in names)


def shortest(name: str, room: int) -> str:
    """Return a name in `room` characters (at least 4): where it is longer its end, which tells names apart.

    >>> shortest("slanted-triangular", 12)
    '..triangular'
    """
    return name if len(name) <= room else f"..{name[-max(2, room - 2) :]}"


def _needed(column: Column, rows: Sequence[Row]) -> int:
    return max([column.width, len(column.title), *(len(column.cell(row)) for row in rows)])


def _own(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = evidence_of(row).get(name)
        return DASH if value is None else f"{value:.4g}"

    return cell


def cells(row: Row, columns: Sequence[Column] = COLUMNS) -> list[str]:
    """Return the texts of a row, one a column."""
    return [column.cell(row) for column in columns]


def footnotes(rows: Sequence[Row], columns: Sequence[Column] = COLUMNS) -> list[str]:
    """Return why cells are dashes, one sentence for each reason, with the columns and periods it holds for."""
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        for column in columns:
            for key in column.keys:
                if column.cell(row) == DASH:
                    reason = evidence_of(row)["reasons"].get(key, "not recorded")
                    found.setdefault((column.title, reason), []).append(row["period"])
    titles: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for (title, reason), periods in found.items():
        titles.setdefault((reason, tuple(sorted(set(periods)))), []).append(title)
    return [
        f"{DASH} {', '.join(names)}: {reason} (period{'s' if len(periods) > 1 else ''} {spans(periods)})"
        for (reason, periods), names in titles.items()
    ]


def shortened(rows: Sequence[Row], limit: int) -> tuple[Sequence[Row], int]:
    """Return at most `limit` rows (the first half and the last), and how many were left out between them."""
    if len(rows) <= limit:
        return rows, 0
    head = limit // 2
    return [*rows[:head], *rows[len(rows) - (limit - head) :]], len(rows) - limit
