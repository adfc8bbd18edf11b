"""`ebbdoor cache`: what studies remember of trainings and readings, and how to forget it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows import settings
from flows.commands.output import Format, FormatOption, print_json, print_table

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(cache)


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove it all; it is computed again when needed.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Print where the trainings and readings lie that studies recall, how many there are, and their bytes."""
    from flows.runs.folder import shown
    from flows.studies.places import cache_of
    from simulator.cache import folder as memo_folder

    folder = cache_of(settings.default_workspace())
    kinds = memo_folder.clear(folder) if clear else memo_folder.usage(folder)
    total = {"entries": sum(kept.entries for kept in kinds), "bytes": sum(kept.bytes for kept in kinds)}
    if format_ is Format.json:
        rows = [asdict(kept) for kept in kinds]
        print_json({"folder": str(folder), "cleared": clear, "kinds": rows, **total})
        return
    typer.echo(f"{'removed from' if clear else 'in'} {shown(folder)}:")
    print_table(("kind", "entries", "bytes"), [*(asdict(kept) for kept in kinds), {"kind": "all", **total}])
