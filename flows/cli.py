"""The command `ebbdoor`. Nothing heavy is imported until a command needs it, so that help comes at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from flows.commands import (
    audit,
    bench,
    cache,
    calibrate,
    compare,
    init,
    inspect,
    listing,
    numerics,
    operate,
    power,
    run,
    servers,
    study,
    view,
)
from flows.commands.run import INTERRUPTED
from simulator.errors import EXIT_CODES, EbbdoorError
from simulator.system.ending import ending_by_signal, exit_status
from simulator.system.environment import print_anything
from simulator.system.startup import end_soon
from simulator.system.unread import outlive_readers

_CODES = {
    **EXIT_CODES,
    129: "ended by SIGHUP, as by Ctrl-C",
    INTERRUPTED: "stopped by Ctrl-C: what was committed is kept",
    143: "ended by SIGTERM, as by Ctrl-C",
}
_EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in _CODES.items()) + "."

app = typer.Typer(
    name="ebbdoor",
    help="The flight simulator for continually deployed models under backdoor attack.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run.run)
app.command("simulate", hidden=True)(run.run)  # the name of the flow
app.command()(run.resume)
app.command()(study.study)
app.command()(compare.compare)
app.command()(power.power)
app.command()(audit.audit)
app.command()(calibrate.calibrate)
app.command("list")(listing.list_)
for command in (
    *(inspect.show, init.init, inspect.check, inspect.report, view.view),
    *(operate.status, operate.reconcile, operate.rollback, operate.delete),
    *(bench.bench, numerics.numerics, cache.cache, servers.up, servers.down, servers.ui),
):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ebbdoor {version('ebbdoor')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    return


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code; an error that ebbdoor can explain is one sentence, without a traceback."""
    end_soon()
    print_anything()
    outlive_readers()
    try:
        with ending_by_signal(command=True):
            app(args=None if arguments is None else list(arguments))
    except EbbdoorError as error:
        typer.echo("\n".join([f"ebbdoor: {error}", *getattr(error, "__notes__", [])]), err=True)
        sys.exit(exit_status(error.exit_code))
    except KeyboardInterrupt:
        typer.echo("\nStopped.", err=True)
        sys.exit(exit_status(INTERRUPTED))
    except SystemExit as ended:
        if isinstance(ended.code, int):
            sys.exit(exit_status(ended.code))
        raise


if __name__ == "__main__":
    main()
