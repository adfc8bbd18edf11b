"""The end of a run on a terminal: the table of versions, the verdict, and links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simulator.observer.report.columns import (
    Column,
    cells,
    columns_for,
    drift_text,
    footnotes,
    own_columns,
    shortened,
)
from simulator.observer.rows import evidence_of, evident
from simulator.observer.run_export import RunExport
from simulator.observer.verdict import verdicts

#: rows of one arm's table; longer runs are cut in the middle
LIMIT = 40


def print_run(run: RunExport, console: Console, links: Mapping[str, str] | None = None) -> None:
    """Print tables, verdict and `links` (name -> address or path) to `console`, as wide as it is.

    Where it is no terminal, a sentence is a line.
    """
    whole = not console.is_terminal
    for arm in run.arms:
        for part in versions_table(run, arm, console.width):
            console.print(part, soft_wrap=whole and isinstance(part, Text), highlight=False)
        console.print()
    for arm, text in verdicts(run.summary).items():
        console.print(Text.assemble((arm, "bold"), ": ", text), highlight=False, soft_wrap=whole)
    if links:
        console.print()
        console.print(links_text(links), highlight=False, soft_wrap=True)


def versions_table(run: RunExport, arm: str, width: int) -> list[Text | Table]:
    """Return an arm's title, table, one row a period, with the columns that `width` characters hold, and footnotes."""
    rows, left_out = shortened(evident(run.lineage(arm), run.lineage(arm, "paced")), LIMIT)
    columns = columns_for(width, rows)
    title = Text.assemble((arm, "bold"), ": ", _world(run, arm))
    table = empty_table(columns)
    for index, row in enumerate(rows):
        if left_out and index == LIMIT // 2:
            table.add_row(*[".."] * len(columns))
        table.add_row(*cells(row, columns), style="yellow" if row["drift_alarm"] else "")
    notes = footnotes(rows, columns)
    if left_out:
        notes.append(f".. {left_out} period{'s' if left_out > 1 else ''} left out; periods.jsonl has them all")
    notes.extend(_beside(rows, columns))
    return [title, table, *(Text(note, style="dim") for note in notes)]


def _beside(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> list[str]:
    """Return the last values of the readings of the user's own probes for which the table has no room."""
    last, titles = evidence_of(rows[-1]) if rows else {}, [column.title for column in columns]
    return [
        f"{own.title} at the end: {last['reasons'].get(own.title) or own.cell(last)}"
        for own in own_columns(rows)
        if own.title not in titles
    ]


def empty_table(columns: Sequence[Column], *before: str) -> Table:
    """Return a table without rows: left-aligned columns titled `before`, then `columns`."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for title in before:
        table.add_column(title, no_wrap=True)
    for column in columns:
        # widths are fixed so that the same figure stands in the same place in every run
        table.add_column(column.title, justify="left" if column.left else "right", min_width=column.width, no_wrap=True)
    return table


def links_text(links: Mapping[str, str]) -> Text:
    """Return where to look, one address or path a line, never broken."""
    longest = max(map(len, links))
    return Text("\n".join(f"{name:<{longest}}  {where}" for name, where in links.items()), no_wrap=True)


def _world(run: RunExport, arm: str) -> str:
    """Return what drifts and what is planted, in a few words."""
    rows = run.lineage(arm)
    poisoned = [row["period"] for row in rows if row["poison_rate"] > 0]
    when = "never poisoned" if not poisoned else f"poisoned in {len(poisoned)} of {len(rows)} periods"
    return f"{when}; true drift at the end: {drift_text(rows[-1])}"
