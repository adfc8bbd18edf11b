"""The databases of the servers that `ebbdoor up` starts: SQLite in the workspace, or PostgreSQL by environment.

`python -m flows.servers.databases WORKSPACE` makes the MLflow store of a workspace, in a process of its own.
An address of PostgreSQL holds a password, so it travels by environment alone: to the one process that opens it, never
on a command line, into a file, or into a message.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from simulator.errors import EbbdoorError, StoreUnavailableError
from simulator.production.registry.database import (
    DATABASE,
    check_scheme,
    own_database,
    shown_database,
    without_secret,
)
from simulator.system.sqlite import sqlite_address

#: environment variable: the database of the Prefect server
PREFECT_DATABASE = "EBBDOOR_PREFECT_DATABASE"

#: Prefect's own names for it, which win
_PREFECTS = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")

#: what only the process that opens a database may know
PRIVATE = (DATABASE, PREFECT_DATABASE, "MLFLOW_BACKEND_STORE_URI", *_PREFECTS)

_PATIENCE = 5.0  # seconds for the database to accept a connection


def mlflow_variables(workspace: Path) -> dict[str, str]:
    """Return the environment variables that tell an MLflow server, and what makes its tables, where its database is."""
    own = own_database()
    if own is None:
        return {"MLFLOW_BACKEND_STORE_URI": sqlite_address(workspace / "mlflow.db")}
    return {"MLFLOW_BACKEND_STORE_URI": own, DATABASE: own}


def prefect_variables() -> dict[str, str]:
    """Return the environment variables by which a Prefect server learns its database; none for its own SQLite.

    Raises `StoreError` when `EBBDOOR_PREFECT_DATABASE` is no address of PostgreSQL, `StoreUnavailableError` within
    seconds when the database does not let us in.
    """
    address = os.environ.get(PREFECT_DATABASE)
    theirs = {name: os.environ[name] for name in _PREFECTS if os.environ.get(name)}
    if not address or theirs:
        return theirs
    check_scheme(address, PREFECT_DATABASE, "asyncpg")
    asyncio.run(_try(address))
    return {_PREFECTS[1]: f"postgresql+asyncpg://{address.partition('://')[2]}"}


def without_addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` for a process that speaks to the servers and never to their databases."""
    return {name: value for name, value in environment.items() if name not in PRIVATE}


async def _try(address: str) -> None:
    import asyncpg

    plain = f"postgresql://{address.partition('://')[2]}"
    try:
        connection = await asyncpg.connect(plain, timeout=_PATIENCE)
    except (OSError, ValueError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = without_secret(str(error), address) or type(error).__name__
        raise StoreUnavailableError(
            f"expected a PostgreSQL database to answer at {shown_database(address)}, got: {reason}; "
            f"see that it runs and lets you in, correct {PREFECT_DATABASE}, or unset it to use SQLite"
        ) from None  # the cause would carry the address
    await connection.close()


if __name__ == "__main__":
    from simulator.production.registry.environment import prepare_environment
    from simulator.production.registry.open import open_stores

    prepare_environment()
    try:
        open_stores(tracking_uri=None, workspace=Path(sys.argv[1]))
    except EbbdoorError as error:
        sys.exit(str(error))
