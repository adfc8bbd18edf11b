"""`ebbdoor view`: a run's report in the browser, from this machine's loopback."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import settings
from flows.commands.output import Format, FormatOption, print_json, say
from flows.commands.run import RunPlace
from flows.commands.servers import open_pages

Port = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, help="The port.", show_default="any that is free")
]
Open = Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser of this desktop.")]


def view(run: RunPlace, port: Port = None, open_: Open = True, format_: FormatOption = Format.table) -> None:
    """Serve a run's report to this machine alone, and open it; of a run under way what is committed so far.

    The address is the result; the command goes on until Ctrl-C.
    """
    from flows.runs.folder import find_run_folder, is_finished
    from flows.runs.play import export_again
    from flows.servers.report import REPORT, serving

    found = find_run_folder(run, settings.use_workspace())
    if not (is_finished(found) and (found.folder / REPORT).is_file()):
        say("writing the report of what is committed")
        export_again(found)
    with serving(found.folder, port) as server:
        if format_ is Format.json:
            print_json({"run": found.run, "page": server.page})
        else:
            typer.echo(server.page)
        if open_:
            open_pages([server.page])
        say("Ctrl-C ends it")
        server.serve_forever()
