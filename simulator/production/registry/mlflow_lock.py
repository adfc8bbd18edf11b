"""One writer per run in a store without compare-and-set: a registered model's name is given only once."""

from __future__ import annotations

from typing import Any

from simulator.errors import RunHeldError, StoreError
from simulator.production.registry.holder import Holder
from simulator.production.registry.mlflow_client import Store
from simulator.production.registry.naming import lock_model

__all__ = ["acquire", "read", "release"]


def acquire(store: Store, run: str, take_over: bool) -> Holder:
    """Return this process as the holder of `run`, or raise `RunHeldError`."""
    holder = Holder.current()
    with store.explaining(f"hold run '{run}'"):
        _take(store.client, lock_model(run), run, holder, take_over)
        _clear_rights(store, run)
    return holder


def release(store: Store, run: str, holder: Holder) -> None:
    """Free `run` if `holder` holds it."""
    with store.explaining(f"release run '{run}'"):
        if read(store.client, lock_model(run)) == holder:
            _remove(store.client, lock_model(run))


def _take(client: Any, name: str, run: str, holder: Holder, take_over: bool) -> None:
    """Make the lock `name` ours.

    Of several processes that find the same dead holder only one may remove its lock: the one that takes the lock on
    *that holder's* lock. Otherwise the slower would remove the lock that the faster has just made.
    """
    if _made(client, name, run, holder):
        return
    found = read(client, name)
    if found is None:  # given back in between
        raise RunHeldError(f"expected run '{run}' to be free, got one that others are taking; try again")
    found.refuse_unless_free(run, take_over)
    right = f"{name}.{found.token[:8]}"
    _take(client, right, run, holder, take_over)
    try:
        if read(client, name) == found:
            _remove(client, name)
        if not _made(client, name, run, holder):
            raise RunHeldError(f"expected run '{run}' to be free, got one just taken over by another process")
    finally:
        _remove(client, right)


def _clear_rights(store: Store, run: str) -> None:
    """Remove what killed takers-over left. `run` is ours, so nobody needs a right to the lock of an earlier holder."""
    prefix = f"{lock_model(run)}."  # in the query its underscores stand for any character
    for row in store.pages(store.client.search_registered_models, f"name LIKE '{prefix}%'"):
        if row.name.startswith(prefix) and Holder.of(row.tags, f"the registered model '{row.name}'").is_dead:
            _remove(store.client, row.name)


def _made(client: Any, name: str, run: str, holder: Holder) -> bool:
    from mlflow.exceptions import MlflowException

    note = f"ebbdoor: process {holder.pid} on host {holder.host} is writing to run {run}. Removed when it ends."
    try:
        client.create_registered_model(name, tags={"run": run, **holder.values()}, description=note)
    except MlflowException as error:
        if error.error_code == "RESOURCE_ALREADY_EXISTS":
            return False
        raise
    return True


def read(client: Any, name: str) -> Holder | None:
    """Return who has the lock `name`; None when nobody has."""
    from mlflow.exceptions import MlflowException

    try:
        tags = client.get_registered_model(name).tags
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return Holder.of(tags, f"the registered model '{name}'")


def _remove(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.delete_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise StoreError(f"expected the lock '{name}' to be removable, got {error}; remove it by hand") from error
