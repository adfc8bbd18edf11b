"""Results on standard output, for people or for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer


class Format(StrEnum):
    """How a result is printed."""

    table = "table"
    json = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How the result is printed.")]


def print_json(value: Any) -> None:
    """Print a JSON value."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


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
