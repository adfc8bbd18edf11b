"""Where runs are kept: the user's MLflow, or a workspace folder of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from simulator.errors import StoreError
from simulator.production.registry.base import Ledger, Registry
from simulator.production.registry.database import DATABASE, is_database, own_database
from simulator.production.registry.database_lock import alone_in
from simulator.production.registry.environment import prepare_environment
from simulator.production.registry.retry import Retry
from simulator.system.files import write_whole
from simulator.system.locks import exclusive
from simulator.system.sqlite import sqlite_address
from simulator.system.startup import importing

if TYPE_CHECKING:
    from simulator.production.registry.mlflow.client import Store
    from simulator.production.registry.mlflow.models import Models

T = TypeVar("T")


def import_client() -> None:
    """Import mlflow ahead of `open_stores`, for a process that is waiting for something else."""
    prepare_environment()
    import mlflow  # noqa: F401


def open_stores(*, tracking_uri: str | None, workspace: Path) -> tuple[Registry, Ledger]:
    """Return registry and ledger in the MLflow store at `tracking_uri`, or in `workspace` when it is None.

    The workspace holds `mlflow.db` (SQLite) and `artifacts/`; a PostgreSQL database (`tracking_uri`, or for the
    workspace `EBBDOOR_MLFLOW_DATABASE`) replaces the former. The schema is made on first use, by one process
    while others wait. Raises `StoreError`, within seconds, when the store cannot be opened; later calls go on asking a
    store that does not answer, for `EBBDOOR_STORE_PATIENCE` seconds (60). Imports mlflow (2 to 8 s).
    """
    return _in_store(tracking_uri, workspace, _stores)


def open_models(*, tracking_uri: str | None, workspace: Path) -> Models:
    """Return the models of the store that `open_stores` opens, whoever made them."""
    from simulator.production.registry.mlflow.models import Models

    return _in_store(tracking_uri, workspace, lambda store: Models(store, Retry.from_environment()))


def _in_store(tracking_uri: str | None, workspace: Path, make: Callable[[Store], T]) -> T:
    """Return what `make` makes of the store, which no other process makes meanwhile."""
    from simulator.production.registry.mlflow.client import Store

    folder = workspace.resolve()
    if tracking_uri is not None and not is_database(tracking_uri):
        return make(Store(tracking_uri))
    database = tracking_uri or own_database()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if tracking_uri is None:
            _keep_to_one(folder / "database.txt", database)
        with exclusive(folder / "mlflow.lock") if database is None else alone_in(database):
            address = database or _own_file(folder / "mlflow.db")
            return make(Store(address, (folder / "artifacts").as_uri()))
    except OSError as error:
        raise StoreError(
            f"expected the workspace {folder} to be a folder to write in, got {error}; name another"
        ) from error


def _own_file(path: Path) -> str:
    """Make the SQLite store `path` where there is none, and return its address."""
    address = sqlite_address(path)
    prepare_environment()
    with importing():
        from simulator.production.registry.mlflow.schema import make_schema

        make_schema(path)
    return address


def _keep_to_one(note: Path, database: str | None) -> None:
    """Note that the workspace's runs are in a database; refuse to look for them in SQLite afterwards."""
    if database is not None:
        write_whole(note, f"The runs of this workspace are in a PostgreSQL database; its address is in {DATABASE}.\n")
    elif note.exists():
        raise StoreError(
            f"expected {DATABASE} to be set, for the runs in {note.parent} are in a PostgreSQL database, got nothing; "
            f"set it, start the servers with it (`ebbdoor up`), or remove {note.name} there to go back to SQLite"
        )


def _stores(store: Store) -> tuple[Registry, Ledger]:
    from simulator.production.registry.mlflow.ledger import MlflowLedger
    from simulator.production.registry.mlflow.registry import MlflowRegistry
    from simulator.production.registry.mlflow.runs import Runs
    from simulator.production.registry.retry import RetryingLedger, RetryingRegistry

    runs, retry = Runs(store), Retry.from_environment()
    runs.prepare()
    return RetryingRegistry(MlflowRegistry(store, runs), retry), RetryingLedger(MlflowLedger(store, runs), retry)
