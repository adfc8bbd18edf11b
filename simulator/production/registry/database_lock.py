"""A PostgreSQL store is opened by one process at a time; the others are told whom they wait for."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, final

from simulator.errors import StoreUnavailableError
from simulator.production.registry.database import (
    DATABASE,
    check_scheme,
    own_database,
    shown_database,
    without_secret,
)
from simulator.system.locks import await_lock

_PATIENCE: Final = 5  # seconds for the database to accept a connection, and to answer a question
_LOCK: Final = 0x656262  # "ebb": the advisory lock of the process that is opening the store

#: who holds the advisory lock in this database
_HOLDER: Final = f"""
SELECT pid, application_name, host(client_addr), to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS')
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = {_LOCK} AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@final
@dataclass(frozen=True, slots=True)
class Session:
    """A connection to the database, as the server describes it; what it does not tell is empty."""

    pid: int
    application: str
    host: str
    since: str
    is_stopped: bool = False  # the server does not know

    def __str__(self) -> str:
        application = f" of {self.application}" if self.application else ""
        host = f" from {self.host}" if self.host else ""
        since = f", connected since {self.since}" if self.since else ""
        return (
            f"the database session {self.pid}{application}{host}{since} "
            f"(`SELECT pg_terminate_backend({self.pid})` ends it)"
        )


@contextmanager
def alone_in(address: str) -> Iterator[None]:
    """Wait until no other process is opening the store at `address`, and keep others waiting for the block.

    MLflow makes its tables without a lock: of several processes at a fresh database all but one would fail. Raises
    `StoreError` when the driver is missing, `StoreUnavailableError` within seconds when the database does not let us
    in, `LockHeldError` when one session keeps the lock for half of `EBBDOOR_STORE_PATIENCE`.
    """
    check_scheme(address, DATABASE if address == own_database() else "MLFLOW_TRACKING_URI", "psycopg2")
    with _explaining(address):
        connection = _connected(address)
    with connection:
        with _explaining(address):
            connection.exec_driver_sql(f"SET statement_timeout = '{_PATIENCE}s'")
            await_lock(
                lambda: _taken(connection), lambda: _holder(connection), f"the store at {shown_database(address)}"
            )
        yield


def _connected(address: str) -> Any:
    import sqlalchemy

    name = f"ebbdoor, process {os.getpid()} on host {socket.gethostname()}"[:63]
    told = {"connect_timeout": _PATIENCE, "fallback_application_name": name}
    # NullPool: closing really closes, which is what frees the lock. AUTOCOMMIT: within one transaction the server
    # would go on describing the sessions of its beginning.
    options: Any = {"poolclass": sqlalchemy.NullPool, "connect_args": told, "isolation_level": "AUTOCOMMIT"}
    return sqlalchemy.create_engine(address, **options).connect()


def _taken(connection: Any) -> bool:
    return bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_LOCK})").scalar())


def _holder(connection: Any) -> Session | None:
    row = connection.exec_driver_sql(_HOLDER).first()
    return None if row is None else Session(row[0], *(str(value or "") for value in row[1:]))


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
