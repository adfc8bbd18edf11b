"""`ebbdoor bench`: seconds by stage of the standard timeline."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from flows.commands.output import Format, FormatOption, print_json
from flows.displays.steps import steps

Overrides = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the timeline.")]


class Kept(StrEnum):
    """Stores of a bench."""

    sqlite = "sqlite"
    memory = "memory"


def bench(
    seed: Annotated[int, typer.Option("--seed", min=0, help="The timeline's seed.")] = 0,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    no_prefect: Annotated[bool, typer.Option("--no-prefect", help="Leave Prefect out.")] = False,
    stores: Annotated[Kept, typer.Option("--stores", help="Where versions and records go.")] = Kept.sqlite,
    governed: Annotated[
        bool, typer.Option("--governed", help="Prefect and MLflow servers, Evidently every period, default probes.")
    ] = False,
    twin: Annotated[bool, typer.Option("--twin", help="Play the paced twin too.")] = False,
    portable: Annotated[
        bool, typer.Option("--portable", help="Take turns with numerics: portable, not with the bare loop.")
    ] = False,
    pairs: Annotated[
        int | None, typer.Option("--pairs", min=1, help="Play so many times, in turn with the bare loop.")
    ] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Play the standard timeline and print seconds by stage, with the bare torch loop of the same work beside it.

    With --pairs, --governed or --portable each is played in a process of its own, and its CPU seconds are those without
    imports.
    """
    from flows.bench.measure import measure
    from flows.bench.pairs import measure_pairs
    from flows.bench.table import print_measured, print_pairs
    from flows.bench.way import Way

    way = Way(not no_prefect, stores.value, governed, twin, tuple(overrides), portable)
    apart = governed or portable or pairs is not None
    with steps("measuring") as shown:
        if apart:
            measured = measure_pairs(seed, shown.say, way, pairs or 1, shown.done)
        else:
            measured = measure(seed, shown.say, way)
    if format_ is Format.json:
        print_json(measured)
    elif apart:
        print_pairs(measured)
    else:
        print_measured(measured)
