"""`ebbdoor up`, `ebbdoor down`, `ebbdoor ui`: servers and workers of this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import settings
from flows.commands.output import Format, FormatOption, print_json, print_table, say

Port = Annotated[
    int | None, typer.Option(min=1, max=65535, help="The port; by default the usual one, or any free one.")
]


def up(prefect_port: Port = None, mlflow_port: Port = None) -> None:
    """Start what is not running yet: Prefect, MLflow and workers on loopback; register the deployments."""
    from flows.servers.start import page, start

    found = start(settings.default_workspace(), prefect_port=prefect_port, mlflow_port=mlflow_port, say=say)
    names = {"PREFECT_API_URL": "Prefect", "MLFLOW_TRACKING_URI": "MLflow"}
    for variable, address in found.items():
        typer.echo(f"{names[variable]:<8} {page(address)}")
    typer.echo("\nFor `prefect` and your own programs:")
    for variable, value in found.items():
        typer.echo(f"export {variable}={value}")


def down() -> None:
    """Stop exactly the processes that `ebbdoor up` started here."""
    from flows.servers.start import stop_all

    ended = stop_all(settings.default_workspace())
    for name, how in ended.items():
        typer.echo(f"{name}: {how}")
    if not ended:
        say("nothing to stop: `ebbdoor up` has started nothing here")


def ui(format_: FormatOption = Format.table) -> None:
    """Print what runs and where its pages are."""
    from flows.servers.start import status

    rows = status(settings.default_workspace())
    if format_ is Format.json:
        print_json(rows)
    elif rows:
        print_table(["name", "state", "page", "log"], rows)
    else:
        say("nothing runs here: `ebbdoor up` starts it")
