"""`ebbdoor up`, `ebbdoor down`, `ebbdoor ui`: servers and workers of this machine."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Sequence
from typing import Annotated

import typer

from flows import settings
from flows.commands.output import Format, FormatOption, print_json, print_table, say

Port = Annotated[
    int | None, typer.Option(min=1, max=65535, help="The port; by default the usual one, or any free one.")
]


def up(prefect_port: Port = None, mlflow_port: Port = None) -> None:
    """Start what is not running yet: Prefect, MLflow and workers on loopback; register the deployments."""
    from flows.runs.folder import typed
    from flows.servers.shell import shell_file
    from flows.servers.start import page, start

    workspace = settings.default_workspace()
    found = start(workspace, prefect_port=prefect_port, mlflow_port=mlflow_port, say=say)
    names = {"PREFECT_API_URL": "Prefect", "MLFLOW_TRACKING_URI": "MLflow"}
    for variable, address in found.items():
        typer.echo(f"{names[variable]:<8} {page(address)}")
    typer.echo(f"\nFor `prefect` and your own programs in this shell:\n  . {typed(shell_file(workspace))}")
    typer.echo("which sets the path to `ebbdoor` and `prefect`, and:")
    for variable, value in found.items():
        typer.echo(f"export {variable}={value}")


def down() -> None:
    """Stop exactly the processes that `ebbdoor up` started here."""
    from flows.servers.start import stop_all

    ended = stop_all(settings.default_workspace())
    if left := [name for name in settings.own_addresses() if ended]:
        say(f"this shell still has the servers' addresses: unset {' '.join(left)}")
    for name, how in ended.items():
        typer.echo(f"{name}: {how}")
    if not ended:
        say("nothing to stop: `ebbdoor up` has started nothing here")


def ui(
    open_: Annotated[bool, typer.Option("--open", help="Open the pages in the browser of this desktop.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Print what runs and where its pages are."""
    from flows.servers.start import status

    rows = status(settings.default_workspace())
    if format_ is Format.json:
        print_json(rows)
    elif rows:
        print_table(["name", "state", "page", "log"], rows)
    else:
        say("nothing runs here: `ebbdoor up` starts it")
    if open_:
        open_pages([row["page"] for row in rows if row["page"] and row["state"] == "running"])


def open_pages(pages: Sequence[str]) -> None:
    """Open pages in a browser, where there is a desktop: a browser of the terminal would take the terminal."""
    desktop = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    opened = [webbrowser.open(page) for page in pages] if desktop else [False]
    if not all(opened):
        say("no browser to open here: the pages above can be opened by hand")
