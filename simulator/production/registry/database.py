"""PostgreSQL as MLflow's store: waited for in seconds, opened by one at a time, shown without its secrets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qs, unquote

from simulator.errors import StoreError, StoreUnavailableError

#: environment variable: the database that holds the workspace's runs, instead of its own SQLite file
DATABASE = "EBBDOOR_MLFLOW_DATABASE"

_PATIENCE = 5  # seconds for the database to accept a connection
_TURN = 600  # seconds to wait for others that open the store: one makes the tables, which takes seconds
_LOCK = 0x656262  # "ebb": the advisory lock of the process that is opening the store


def own_database() -> str | None:
    """Return the address in `EBBDOOR_MLFLOW_DATABASE`; None when it is not set: then SQLite is used."""
    return os.environ.get(DATABASE) or None


def is_database(address: str) -> bool:
    """Whether `address` is a PostgreSQL database's."""
    return address.partition(":")[0].partition("+")[0] == "postgresql"


def shown_database(address: str) -> str:
    """Return the address without user name, password and options."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def without_secret(text: str, address: str) -> str:
    """Return the first line of `text`, at most 300 characters, with the password in `address` taken out."""
    _, _, password = address.partition("://")[2].rpartition("@")[0].partition(":")
    options = parse_qs(address.partition("?")[2])
    line = next(iter(text.strip().splitlines()), "")
    for secret in (address, password, unquote(password), *options.get("password", [])):
        line = line.replace(secret, "***") if secret else line
    return line[:300]


def check_scheme(address: str, name: str, driver: str) -> None:
    """Raise `StoreError` unless `address`, the value of `name`, is one of PostgreSQL that `driver` can open."""
    scheme, _, rest = address.partition("://")
    if scheme not in ("postgresql", f"postgresql+{driver}") or not rest:
        raise StoreError(
            f"expected {name} to be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, got an address that begins with "
            f"'{scheme[:20]}'; correct it, or unset it to use SQLite"
        )
    if find_spec(driver) is None:
        raise StoreError(
            f"expected the driver {driver} to be installed for the database in {name}, got none; "
            "install `ebbdoor[postgres]`"
        )


@contextmanager
def alone_in(address: str) -> Iterator[None]:
    """Wait until no other process is opening the store at `address`, and keep others waiting for the block.

    MLflow makes its tables without a lock: of several processes at a fresh database all but one would fail. Raises
    `StoreError` when the driver is missing, `StoreUnavailableError` within seconds when the database does not let us
    in.
    """
    check_scheme(address, DATABASE if address == own_database() else "MLFLOW_TRACKING_URI", "psycopg2")
    import sqlalchemy

    # NullPool: closing really closes, which is what frees the lock.
    options: Any = {"poolclass": sqlalchemy.NullPool, "connect_args": {"connect_timeout": _PATIENCE}}
    with _explaining(address):
        connection = sqlalchemy.create_engine(address, **options).connect()
    with connection:
        with _explaining(address):
            connection.exec_driver_sql(f"SET statement_timeout = '{_TURN}s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
        yield


@contextmanager
def _explaining(address: str) -> Iterator[None]:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, ValueError) as error:
        reason = without_secret(str(getattr(error, "orig", None) or error), address)
        raise StoreUnavailableError(
            f"expected a PostgreSQL database to answer at {shown_database(address)}, got: {reason}; "
            "see that it runs and lets you in, then try again"
        ) from None  # the cause would carry the address
