"""Results on standard output, for people or for programs; of a finished run the tables, the verdict, and links."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import settings
from flows.runs.folder import RunFolder, shown

if TYPE_CHECKING:
    from simulator.observer.run_export import RunExport


class Format(StrEnum):
    """How a result is printed."""

    table = "table"
    json = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How the result is printed.")]


def print_json(value: Any) -> None:
    """Print a JSON value."""
    whole = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"  # elsewhere characters may be missing
    typer.echo(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=not whole))


def print_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows under `columns`: on a terminal long cells wrap, elsewhere a row is a line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(row.get(column, ""))) for column in columns))
    width = None if sys.stdout.isatty() else 1000
    Console(file=sys.stdout, highlight=False, width=width).print(table)


def say(text: str) -> None:
    """Print a comment to standard error: something that is not the result."""
    typer.echo(text, err=True)


def print_run(folder: RunFolder) -> None:
    """Print the exported run of a folder to standard output."""
    from rich.console import Console

    from simulator.observer.export import read_run
    from simulator.observer.report import console

    run = read_run(folder.folder)
    links = links_of(folder, dict(run.about.get("links", {})))
    console.print_run(run, Console(file=sys.stdout, highlight=False), links)
    sys.stdout.flush()
    say_notes(run)


def say_notes(run: RunExport) -> None:
    """Print to standard error what must not go unseen: calls of defenses that failed, and what was refused to them."""
    from simulator.observer.report.defense_notes import defense_notes

    for note in defense_notes(run):
        say(f"warning: {note}")


def links_of(folder: RunFolder, stores: dict[str, str]) -> dict[str, str]:
    """Return name -> address or path: the report, the stores' own links, and the pages that can be opened."""
    links = {"report": shown(folder.folder / "report.html"), "run folder": shown(folder.folder), **stores}
    running = settings.addresses(folder.workspace)
    if "PREFECT_API_URL" in running:
        links["Prefect pages"] = running["PREFECT_API_URL"].removesuffix("/api")
    else:
        links["all pages"] = "`ebbdoor up` serves Prefect's and MLflow's on this machine, this run included"
    return links
