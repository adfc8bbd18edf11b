"""One writer per run in a store without compare-and-set: a registered model's name is given only once."""

from __future__ import annotations

from typing import Any

from simulator.errors import RunHeldError
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.naming import lock_model
from simulator.system.holder import Holder


def acquire(store: Store, run: str, holder: Holder, take_over: bool) -> None:
    """Make `holder` the holder of `run`, or raise `RunHeldError`. Asked again for it, this changes nothing."""
    with store.explaining(f"hold run '{run}'"):
        _take(store, lock_model(run), run, holder, take_over)
        _clear_rights(store, run, holder)


def confirm(store: Store, run: str, holder: Holder) -> None:
    """Raise `RunHeldError` when another has taken `run` over; a lock that is gone is made again.

    It is gone when an earlier holder gave its lock back with a request that arrived late: MLflow deletes by name.
    """
    name = lock_model(run)
    with store.explaining(f"tell who holds run '{run}'"):
        found = read(store.client, name)
        if found is None and not _made(store, name, run, holder):
            found = read(store.client, name)
    if found not in (None, holder):
        raise RunHeldError(
            f"expected run '{run}' to be held by this process, got process {found.pid} on host '{found.host}'; "
            "what was committed is kept, look who works on it and resume the run"
        )


def release(store: Store, run: str, holder: Holder) -> None:
    """Free `run` if `holder` holds it."""
    with store.explaining(f"release run '{run}'"):
        if read(store.client, lock_model(run)) == holder:
            _clear_rights(store, run, holder)
            store.delete(store.client.delete_registered_model, lock_model(run))


def _take(store: Store, name: str, run: str, holder: Holder, take_over: bool) -> None:
    """Make the lock `name` ours.

    Of several processes that find the same dead holder only one may remove its lock: the one that takes the lock on
    *that holder's* lock. Otherwise the slower would remove the lock that the faster has just made.
    """
    if _made(store, name, run, holder):
        return
    found = read(store.client, name)
    if found == holder:  # made by an earlier request, whose answer was lost
        return
    if found is None:  # given back in between
        raise RunHeldError(f"expected run '{run}' to be free, got one that others are taking; try again")
    found.refuse_unless_free(run, take_over)
    right = f"{name}.{found.token[:8]}"
    _take(store, right, run, holder, take_over)
    try:
        if read(store.client, name) == found:
            store.delete(store.client.delete_registered_model, name)
        if not _made(store, name, run, holder) and read(store.client, name) != holder:
            raise RunHeldError(f"expected run '{run}' to be free, got one just taken over by another process")
    finally:
        store.delete(store.client.delete_registered_model, right)


def _clear_rights(store: Store, run: str, holder: Holder) -> None:
    """Remove what killed take-overs left: `run` is ours, so a right to an earlier holder's lock is of no use."""
    prefix = f"{lock_model(run)}."  # in the query its underscores stand for any character
    for row in store.pages(store.client.search_registered_models, f"name LIKE '{prefix}%'"):
        if not row.name.startswith(prefix) or not row.tags:  # without tags: it is being removed
            continue
        taker = Holder.of(row.tags, f"the registered model '{row.name}'")
        if taker == holder or taker.is_dead:
            store.delete(store.client.delete_registered_model, row.name)


def _made(store: Store, name: str, run: str, holder: Holder) -> bool:
    note = f"ebbdoor: process {holder.pid} on host {holder.host} is writing to run {run}. Removed when it ends."
    about = {tags.RUN: run, **holder.values()}
    return store.create(store.client.create_registered_model, name, tags=about, description=note)


def read(client: Any, name: str) -> Holder | None:
    """Return who holds the lock `name`; None when it is free."""
    from mlflow.exceptions import MlflowException

    try:
        # MLflow reads a name and its tags one after the other: a lock that is being removed may show no tags
        found = client.get_registered_model(name).tags or client.get_registered_model(name).tags
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return Holder.of(found, f"the registered model '{name}'")
