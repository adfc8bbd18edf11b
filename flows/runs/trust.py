"""Which stores a run's folder may lead this user to: a folder that somebody gave away must not learn a password.

MLflow's clients send user name, password or token, of the environment, `~/.mlflow/credentials` or `~/.netrc`, to
whatever server they are told to ask. So an address that only `run.json` names is asked about first.
"""

from __future__ import annotations

import os
import sys

from flows import settings
from simulator.errors import ScenarioError
from simulator.production.registry.addresses import shown_address

_VARIABLE = "MLFLOW_TRACKING_URI"


def expect_trusted(address: str, run: str) -> None:
    """Raise `ScenarioError` unless the user named the store at `address`, or agrees to it on the terminal.

    A file of this machine takes no credentials, and a server that `ebbdoor up` started in the user's own workspace is
    the user's.
    """
    if address == os.environ.get(_VARIABLE) or address.startswith(("sqlite:", "file:")) or "://" not in address:
        return
    if settings.is_own(address, settings.default_workspace()):
        return
    if _agreed(address, run):
        return
    raise ScenarioError(
        f"expected {_VARIABLE} to name the MLflow server of run '{run}', got nothing, and run.json alone names "
        f"{shown_address(address)}: your user name and password would be sent there; if you know that server, "
        f"set {_VARIABLE} to its address and try again"
    )


def _agreed(address: str, run: str) -> bool:
    """Ask on the terminal, where there is one."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    import typer

    question = f"Run '{run}' names the MLflow server {shown_address(address)}. Send your user name and password there?"
    return bool(typer.confirm(question, default=False, err=True))
