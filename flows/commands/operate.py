"""`ebbdoor status`, `ebbdoor reconcile`, `ebbdoor rollback`, `ebbdoor delete`: operate runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows.commands import completion
from flows.commands.output import Format, FormatOption, print_json, print_table, say
from flows.settings import use_workspace

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's name, or its folder.", autocompletion=completion.runs)
]


def status(format_: FormatOption = Format.table) -> None:
    """Print where every run stands, which process holds it, and what it waits for. Nothing is changed."""
    from flows.operate.status import COLUMNS, run_status

    rows = run_status(use_workspace())
    if format_ is Format.json:
        print_json(rows)
    else:
        print_table(COLUMNS, rows)
    if not rows:
        say("no run yet: `ebbdoor run SCENARIO` begins one")


def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done; change nothing.")] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Processes on other hosts that hold something have ended.")
    ] = False,
    restore: Annotated[
        str | None,
        typer.Option("--restore", metavar="RUN", help="Undo in this run what was changed by hand in MLflow."),
    ] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Close what is marked as running but is not, remove what killed processes left uncommitted, and say what to do.

    Nothing that was committed is removed; what people changed in MLflow is told, and undone only with --restore.
    """
    from flows.operate.reconcile import reconcile as reconciled
    from flows.operate.wording import Ask

    rows = [asdict(row) for row in reconciled(use_workspace(), Ask(dry_run, take_over, restore), say)]
    if format_ is Format.json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), rows)
    if not rows:
        say("nothing to do: what is called running is being worked on")


def rollback(
    run: Run,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the run.")],
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            min=1,
            metavar="VERSION",
            help="The version that shall serve, as MLflow numbers it.",
            show_default="the one that served before",
        ),
    ] = None,
    arm: Annotated[str | None, typer.Option("--arm", help="The arm, where the run has several.")] = None,
    even_if_rolled_back: Annotated[
        bool, typer.Option("--even-if-rolled-back", help="Also a version that was rolled back itself.")
    ] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Let an earlier version serve from now on; the run goes on from it."""
    from flows.operate.rollback import rollback as rolled_back
    from flows.runs.folder import find_run_folder

    place = find_run_folder(run, use_workspace())
    values = rolled_back(place, arm, to, reason, even_if_rolled_back=even_if_rolled_back)
    if format_ is Format.json:
        print_json(values)
    else:
        typer.echo(
            f"arm {values['arm']} of run {values['run']}: version {values['to']} serves now, version {values['left']} "
            f"was left after period {values['period']}"
        )


def delete(run: Run) -> None:
    """Delete a run: its versions, its records, and the files ebbdoor wrote into its folder."""
    from flows.runs.folder import place_of, shown
    from flows.runs.play import delete_place

    found = place_of(run, use_workspace())
    delete_place(found)
    left = f"; what you put into {shown(found.folder)} is kept" if found.folder.exists() else ""
    say(f"deleted {found.run}{left}")
