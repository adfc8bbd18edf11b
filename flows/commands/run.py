"""`ebbdoor run` and `ebbdoor resume`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows import settings
from flows.commands.output import say
from flows.commands.results import print_run
from flows.displays.base import Heading
from flows.displays.display import Mode, display_for
from flows.overrides import as_mapping, with_options
from flows.runs.folder import Place, find_place, new_name, noted, place_of, shown
from simulator.errors import EbbdoorError

if TYPE_CHECKING:
    from flows.carry_out import Order
    from simulator.scenario.model import Scenario

__all__ = ["INTERRUPTED", "register"]

#: as shells report a process that Ctrl-C ended
INTERRUPTED = 130

Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. stream.batch=500.")
]
NoPrefect = Annotated[bool, typer.Option("--no-prefect", help="Run the bare loop, not a Prefect flow.")]
DisplayMode = Annotated[Mode | None, typer.Option("--display", help="live on a terminal, plain elsewhere.")]
Until = Annotated[
    int | None, typer.Option("--until", min=0, metavar="PERIOD", help="Stop after a period; the run stays open.")
]
Live = Annotated[
    bool, typer.Option("--live", help="Open a run that goes on as time passes: period 0 now, the others when due.")
]
Every = Annotated[
    float | None, typer.Option("--every", metavar="SECONDS", help="Between a live run's periods. [default: any time]")
]
Processes = Annotated[
    int | None, typer.Option("--processes", min=0, help="Worker processes; 0: none. [default: one an arm]")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(run)
    app.command("simulate", hidden=True)(run)  # as the flow is called
    app.command()(resume)


def run(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="A preset's name, or a .yaml file.")],
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The run's folder.")] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="D", help="auto, cpu, cuda or cuda:N.")] = None,
    no_prefect: NoPrefect = False,
    display: DisplayMode = None,
    until: Until = None,
    live: Live = False,
    every: Every = None,
    processes: Processes = None,
) -> None:
    """Play a scenario, as a Prefect flow."""
    from flows.carry_out import Order
    from flows.runs.queue import live_values
    from simulator.scenario.load import load_scenario

    values = load_scenario(scenario, with_options(overrides, device=device))
    live_values(values, live, every, until)
    workspace = settings.default_workspace()
    settings.use_running_servers(workspace)
    place = place_of(new_name(values.name, values.seed, workspace), out, workspace)
    given = as_mapping(with_options(overrides, device=device))
    order = Order(
        place, values, scenario, given,
        bare=no_prefect, until=until, processes=processes, live=live, every=every,
    )  # fmt: skip
    _played(order, display)


def resume(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The run's folder, or its name.")],
    no_prefect: NoPrefect = False,
    display: DisplayMode = None,
    until: Until = None,
    processes: Processes = None,
    take_over: Annotated[bool, typer.Option("--take-over", help="Take over a run that another host held.")] = False,
) -> None:
    """Go on with a run from its last committed period."""
    from flows.carry_out import Order

    workspace = settings.default_workspace()
    settings.use_running_servers(workspace)
    place = find_place(folder, workspace)
    order = Order(place, bare=no_prefect, until=until, processes=processes, take_over=take_over)
    _played(order, display)


def _played(order: Order, mode: Mode | None) -> None:
    """Carry out an order under a display, and print what came of it."""
    from flows.carry_out import carry_out
    from flows.runs.play import Interrupted

    try:
        told = say if mode in (None, Mode.live, Mode.plain) else _nothing
        carry_out(order, lambda scenario: display_for(mode, _heading(scenario, order.place)), told)
    except Interrupted as interruption:
        told_beside = "".join(f"\n{note}" for note in getattr(interruption, "__notes__", []))
        say(f"\nStopped. {interruption}{told_beside} Go on with:\n  ebbdoor resume {shown(order.place.folder)}")
        raise typer.Exit(INTERRUPTED) from None
    except KeyboardInterrupt:
        say("\nStopped before a period began; nothing was lost.")
        raise typer.Exit(INTERRUPTED) from None
    except EbbdoorError as error:
        if noted(order.place):
            error.add_note(f"What was committed is kept; go on with:\n  ebbdoor resume {shown(order.place.folder)}")
        raise
    if mode is not Mode.json:
        told("")
        print_run(order.place)
    _say_what_it_waits_for(order.place, told)


def _say_what_it_waits_for(place: Place, told: Callable[[str], None]) -> None:
    from flows.runs.queue import waiting_run

    waiting = waiting_run(place)
    if waiting.live and waiting.due.period is not None:
        told(f"\nThe run is live and waits for {waiting.due.words}. To play what is due:\n  ebbdoor resume {place.run}")


def _nothing(text: str) -> None:
    return


def _heading(scenario: Scenario, place: Place) -> Heading:
    return Heading(scenario.name, scenario.seed, scenario.device, shown(place.folder), len(scenario.arms))
