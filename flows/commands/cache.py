"""`ebbdoor cache`: the cached trainings and readings of studies, and how to remove them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows import settings
from flows.commands.output import Format, FormatOption, print_json, print_table


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove it all; it is computed again when needed.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Print where the cached trainings and readings of studies lie, how many there are, and their bytes."""
    from flows.runs.folder import shown
    from simulator.cache import folder as cache_folder

    folder = settings.cache_folder(settings.default_workspace())
    kinds = cache_folder.clear(folder) if clear else cache_folder.usage(folder)
    total = {"entries": sum(kind.entries for kind in kinds), "bytes": sum(kind.bytes for kind in kinds)}
    rows = [asdict(kind) for kind in kinds]
    if format_ is Format.json:
        print_json({"folder": str(folder), "cleared": clear, "kinds": rows, **total})
        return
    typer.echo(f"{'removed from' if clear else 'in'} {shown(folder)}:")
    print_table(("kind", "entries", "bytes"), [*rows, {"kind": "all", **total}])
