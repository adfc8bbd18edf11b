"""`ebbdoor run` and `ebbdoor resume`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows import settings
from flows.commands import completion
from flows.commands.output import print_run, say, say_notes
from flows.displays.base import Heading
from flows.displays.display import Mode, display_for
from flows.displays.pace import Pace
from flows.overrides import as_mapping, with_options
from flows.runs.folder import RunFolder, find_run_folder, noted, run_folder_of, shown, typed
from flows.runs.names import new_name
from simulator.errors import ChangedCodeError, DivergedError, EbbdoorError, HeldElsewhereError

if TYPE_CHECKING:
    from flows.execute import Order
    from flows.runs.queue import Waiting
    from simulator.scenario.model import Scenario

#: exit code of a process that Ctrl-C ended, as shells report it
INTERRUPTED = 130

ScenarioName = Annotated[
    str,
    typer.Argument(metavar="SCENARIO", help="A preset's name, or a .yaml file.", autocompletion=completion.scenarios),
]
RunPlace = Annotated[
    str, typer.Argument(metavar="DIR", help="The run's folder, or its name.", autocompletion=completion.runs)
]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. stream.batch=500.")
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="The seed of all that is drawn.", show_default="the scenario's")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The run's folder.", show_default="in the workspace, by the run's name"),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="D", help="auto, cpu, cuda or cuda:N.", show_default="the scenario's"),
]
NoPrefect = Annotated[bool, typer.Option("--no-prefect", help="Run the bare loop, not a Prefect flow.")]
DisplayMode = Annotated[
    Mode | None,
    typer.Option("--display", help="How progress is shown.", show_default="live on a terminal, plain elsewhere"),
]
Until = Annotated[
    int | None, typer.Option("--until", min=0, metavar="PERIOD", help="Stop after a period; the run stays open.")
]
Live = Annotated[
    bool, typer.Option("--live", help="Open a run that goes on as time passes: period 0 now, the others when due.")
]
Every = Annotated[
    float | None,
    typer.Option(
        "--every", metavar="SECONDS", help="Seconds between a live run's periods.", show_default="whenever advanced"
    ),
]
Processes = Annotated[
    int | None, typer.Option("--processes", min=0, help="Worker processes; 0: none.", show_default="one an arm")
]

AcceptChangedCode = Annotated[
    bool, typer.Option("--accept-changed-code", help="Go on although your own code was changed; it is recorded.")
]


def run(
    scenario: ScenarioName,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    seed: Seed = None,
    out: Out = None,
    device: Device = None,
    no_prefect: NoPrefect = False,
    display: DisplayMode = None,
    until: Until = None,
    live: Live = False,
    every: Every = None,
    processes: Processes = None,
) -> None:
    """Play a scenario, as a Prefect flow."""
    from flows.execute import Order
    from flows.runs.queue import live_values
    from simulator.scenario.load import load_scenario

    given = with_options(overrides, seed=seed, device=device)
    values = load_scenario(scenario, given)
    live_values(values, live, every, until)
    workspace = settings.use_workspace()
    folder = run_folder_of(new_name(values.name, values.seed, workspace), out, workspace)
    order = Order(
        folder, values, scenario, as_mapping(given),
        bare=no_prefect, until=until, processes=processes, live=live, every=every,
    )  # fmt: skip
    _execute(order, display)


def resume(
    run: RunPlace,
    no_prefect: NoPrefect = False,
    display: DisplayMode = None,
    until: Until = None,
    processes: Processes = None,
    take_over: Annotated[bool, typer.Option("--take-over", help="Take over a run that another host held.")] = False,
    accept_changed_code: AcceptChangedCode = False,
) -> None:
    """Go on with a run from its last committed period."""
    from flows.execute import Order

    folder = find_run_folder(run, settings.use_workspace())
    order = Order(
        folder, bare=no_prefect, until=until, processes=processes,
        take_over=take_over, accept_changed_code=accept_changed_code,
    )  # fmt: skip
    _execute(order, display)


def _execute(order: Order, mode: Mode | None) -> None:
    """Execute an order under a display, and print the finished run."""
    comment = say if mode in (None, Mode.live, Mode.plain) else lambda text: None
    with _telling_what_is_safe(order):
        _play(order, mode, comment)
    if mode is Mode.json:
        _say_notes(order.folder)
    else:
        comment("")
        print_run(order.folder)
    from flows.runs.queue import waiting_run

    _say_what_it_waits_for(waiting := waiting_run(order.folder), comment)
    if waiting.ended:
        from simulator.observer.verdict import diverged_sentences

        for sentence in diverged_sentences(waiting.ended):
            say(f"ebbdoor: {sentence}; what it had committed is kept, and `resume` plays no more of it")
        raise typer.Exit(DivergedError.exit_code)


def _play(order: Order, mode: Mode | None, comment: Callable[[str], None]) -> None:
    """Play under a display that begins before what takes seconds, and remember how long it took."""
    from flows.runs.paces import kind_of, remember

    scenario, folder = order.scenario, order.folder
    kind = "" if scenario is None else kind_of(scenario, bare=order.bare, processes=order.processes)
    pace = Pace() if scenario is None else _pace(order, scenario, kind)
    with display_for(mode, None if scenario is None else _heading(scenario, folder), pace=pace) as display:
        from flows.execute import execute

        execute(order, lambda found: display.under(_heading(found, folder)), comment, display.doing)
    if scenario is not None:
        remember(folder.workspace, kind, pace.measured())


@contextmanager
def _telling_what_is_safe(order: Order) -> Iterator[None]:
    """Say, of what ends in the block, what is committed and how to go on."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        say(f"\nStopped. {_safe(order, stopped)}")
        raise typer.Exit(INTERRUPTED) from None
    except EbbdoorError as error:
        if noted(order.folder):
            folder = typed(order.folder.folder)
            error.add_note(f"What was committed is kept; go on with:\n  ebbdoor resume {folder}{_knowingly(error)}")
        raise


def _safe(order: Order, stopped: KeyboardInterrupt) -> str:
    from flows.runs.play import Interrupted

    if not isinstance(stopped, Interrupted) and not noted(order.folder):
        return "0 periods are safe, for none was begun; nothing was lost."
    notes = "".join(f"\n{note}" for note in getattr(stopped, "__notes__", []))
    kept = f"{stopped}{notes}" if isinstance(stopped, Interrupted) else "What was committed is safe."
    return f"{kept} Go on with:\n  ebbdoor resume {typed(order.folder.folder)}"


def _say_notes(folder: RunFolder) -> None:
    from simulator.observer.export import read_run

    say_notes(read_run(folder.folder))


def _pace(order: Order, scenario: Scenario, kind: str) -> Pace:
    """Return the clock of a run that begins now, with what the last run of its kind took."""
    from flows.runs.paces import earlier

    updates = 0 if order.live else scenario.periods if order.until is None else order.until
    return Pace(earlier(order.folder.workspace, kind), min(updates, scenario.periods))


def _knowingly(error: EbbdoorError) -> str:
    """Return the option without which the same refusal would follow."""
    if isinstance(error, ChangedCodeError):
        return " --accept-changed-code"
    return " --take-over" if isinstance(error, HeldElsewhereError) else ""


def _say_what_it_waits_for(waiting: Waiting, comment: Callable[[str], None]) -> None:
    if waiting.live and waiting.due.period is not None:
        comment(
            f"\nThe run is live and waits for {waiting.due.words}. "
            f"To play what is due:\n  ebbdoor resume {typed(waiting.folder.folder)}"
        )


def _heading(scenario: Scenario, folder: RunFolder) -> Heading:
    return Heading(scenario.name, scenario.seed, scenario.device, shown(folder.folder), len(scenario.arms))
