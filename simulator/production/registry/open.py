"""Where runs are kept: the user's MLflow, or a workspace folder of our own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from simulator.errors import StoreError
from simulator.exclusive import exclusive
from simulator.production.registry.base import Ledger, Registry
from simulator.production.registry.database import is_database, own_database
from simulator.production.registry.environment import prepare_environment

if TYPE_CHECKING:
    from simulator.production.registry.mlflow_client import Store

__all__ = ["open_stores", "prepare_environment"]


def open_stores(*, tracking_uri: str | None, workspace: Path) -> tuple[Registry, Ledger]:
    """Return registry and ledger in the MLflow store at `tracking_uri`, or in `workspace` when it is None.

    The workspace holds `mlflow.db` (SQLite) and `artifacts/`; a PostgreSQL database (`tracking_uri`, or for the
    workspace `EBBDOOR_MLFLOW_DATABASE`) takes the place of the former. The schema is made on first use, by one process
    while others wait. Raises `StoreError`, within seconds, when the store cannot be opened. Imports mlflow (2 to 8 s).
    """
    from simulator.production.registry.mlflow_client import Store

    address = tracking_uri or own_database()
    folder = workspace.resolve()
    if address is not None and tracking_uri is not None and not is_database(address):
        return _stores(Store(address))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / "mlflow.lock"):
            return _stores(Store(f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()))
    except OSError as error:
        raise StoreError(
            f"expected the workspace {folder} to be a folder to write in, got {error}; name another"
        ) from error


def _stores(store: Store) -> tuple[Registry, Ledger]:
    from simulator.production.registry.mlflow_ledger import MlflowLedger
    from simulator.production.registry.mlflow_places import Places
    from simulator.production.registry.mlflow_registry import MlflowRegistry

    places = Places(store)
    places.prepare()
    return MlflowRegistry(store, places), MlflowLedger(store, places)
