"""MLflow's tables in the workspace's SQLite file: whole or not there, also after a kill while they are made.

MLflow makes them in seconds and over sixty steps, and can neither use nor complete what a killed process left.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from simulator.errors import StoreError, StoreUnavailableError
from simulator.system.files import sync
from simulator.system.sqlite import COMPANIONS, sqlite_address

#: tables that hold rows although nobody has kept anything yet
_BOOKKEEPING: Final = ("alembic_version", "workspaces")


def make_schema(database: Path) -> None:
    """Make MLflow's tables in `database` unless they are there; the caller keeps other processes away.

    They are made in a file beside it, which is renamed once it is whole. What a process left that was killed while it
    made them is set aside as `NAME.half-made`, unless it holds a row: then it is left as it is, for MLflow to refuse.
    """
    if database.exists():
        if _has_rows(database) or _is_whole(database):
            return
        _move(database, database.with_name(f"{database.name}.half-made"))
    part = database.with_name(f".{database.name}.part")
    _remove(part)
    _make_tables(part)
    sync(part)
    part.rename(database)
    sync(database.parent)


def _make_tables(part: Path) -> None:
    import sqlalchemy
    from mlflow.store.db.utils import _initialize_tables

    engine = sqlalchemy.create_engine(sqlite_address(part), poolclass=sqlalchemy.NullPool)
    try:
        _initialize_tables(engine)
    finally:
        engine.dispose()


def _is_whole(database: Path) -> bool:
    """Whether the tables are those of the installed MLflow: its last step is to note their revision."""
    from mlflow.store.db.utils import _get_latest_schema_revision

    with _opened(database) as connection:
        if "alembic_version" not in _tables(connection):
            return False
        noted = {str(row[0]) for row in connection.execute("SELECT version_num FROM alembic_version")}
    return noted == {_get_latest_schema_revision()}


def _has_rows(database: Path) -> bool:
    with _opened(database) as connection:
        tables = [name for name in _tables(connection) if name not in _BOOKKEEPING]
        return any(connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for name in tables)


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """Open a database; in the block SQLite's own errors become `StoreError`."""
    try:
        with closing(sqlite3.connect(database, timeout=5)) as connection:
            yield connection
    except sqlite3.OperationalError as error:  # locked, or its disk is full
        raise StoreUnavailableError(
            f"expected the MLflow store at {sqlite_address(database)} to open, got: {error}; try again"
        ) from error
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"expected the MLflow store at {sqlite_address(database)} to be a database, got: {error}; "
            "put a copy of it back, or move it away to begin anew"
        ) from error


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [str(row[0]) for row in found if not str(row[0]).startswith("sqlite_")]


def _move(database: Path, to: Path) -> None:
    _remove(to)
    for ending in ("", *COMPANIONS):
        beside = database.with_name(f"{database.name}{ending}")
        if beside.exists():
            os.replace(beside, to.with_name(f"{to.name}{ending}"))


def _remove(path: Path) -> None:
    for ending in ("", *COMPANIONS):
        path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)
