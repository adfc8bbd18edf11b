"""`ebbdoor delete` and `ebbdoor bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import settings
from flows.commands.output import Format, FormatOption, print_json, say

__all__ = ["register"]

Overrides = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the timeline.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(delete)
    app.command()(bench)


def delete(run: Annotated[str, typer.Argument(metavar="RUN", help="The run's name, or its folder.")]) -> None:
    """Delete a run: its versions, its records, and the files ebbdoor wrote into its folder."""
    from flows.places import find_place, shown
    from flows.playing import delete_place

    workspace = settings.default_workspace()
    settings.use_running_servers(workspace)
    place = find_place(run, workspace)
    delete_place(place)
    left = f"; what you put into {shown(place.folder)} is kept" if place.folder.exists() else ""
    say(f"deleted {place.run}{left}")


def bench(
    seed: Annotated[int, typer.Option("--seed", min=0, help="The timeline's seed.")] = 0,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    no_prefect: Annotated[bool, typer.Option("--no-prefect", help="Leave Prefect out.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Play the standard timeline and print seconds by stage, with the bare torch loop of the same work beside it."""
    from flows.bench import measure, print_measured

    measured = measure(seed, say, overrides=overrides, bare=no_prefect)
    if format_ is Format.json:
        print_json(measured)
    else:
        print_measured(measured)
