"""Removing a whole run from MLflow: because a person asked, or because nothing was ever committed of it."""

from __future__ import annotations

from typing import Any

from simulator.errors import StoreError
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.mlflow.ours import (
    is_marked_for_deletion,
    is_model,
    is_row,
    is_run,
    is_used,
    is_version,
)
from simulator.production.registry.mlflow.runs import Runs
from simulator.production.registry.naming import check_run


def delete_run(store: Store, runs: Runs, run: str) -> bool:
    """Remove what MLflow holds of a run: its runs with their files, its logged models, its versions. False: nothing.

    Everything is marked first, so that `sweep_run` may go on after a kill. What others put into a registered model
    of the run is kept, and the model with it.
    """
    with store.explaining(f"delete run '{run}'"):
        found = _everything(store, runs, run)
        _expect_own(store, *found[:2])
        _mark(store, *found)
        _remove(store, run, *found)
    return any(found)


def sweep_run(store: Store, runs: Runs, run: str) -> None:
    """Remove what a killed opening or a killed `delete_run` left; `StoreError` when anything is committed.

    What a person asked to be deleted is not called committed any more.
    """
    with store.explaining(f"remove what is left of run '{run}'"):
        items, models, named = _everything(store, runs, run)
        kept = [item.info.run_name for item in items if is_used(item) and not is_marked_for_deletion(item.data.tags)]
        kept += [row.name for row in named if not is_marked_for_deletion(row.tags) and _rows(store, row)]
        if kept:
            raise StoreError(
                f"expected nothing of run '{run}' to be committed, got {', '.join(kept)}; it is kept: restore what is "
                f"missing in MLflow, or remove all of it with `ebbdoor delete {run}`"
            )
        _remove(store, run, items, models, named)


def _everything(store: Store, runs: Runs, run: str) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the MLflow runs, deleted ones too, the logged models and the registered models of a run."""
    from mlflow.entities import ViewType

    client, query = store.client, f"tags.{tags.RUN} = '{check_run(run)}'"
    items = store.pages(client.search_runs, [runs.experiment], query, run_view_type=ViewType.ALL)
    models = store.pages(client.search_logged_models, [runs.experiment], query)
    named = store.pages(client.search_registered_models, query)
    return (
        [item for item in items if is_run(item) and not (is_marked_for_deletion(item.data.tags) and _is_deleted(item))],
        [model for model in models if is_version(model.tags)],
        [row for row in named if is_model(row)],  # not the lock: its holder gives it back
    )


def _expect_own(store: Store, items: list[Any], models: list[Any]) -> None:
    """Refuse before anything is removed: the store may be one that somebody else wrote."""
    for item in items:
        store.expect_own(item.info.artifact_uri, item.info.run_id)
    for model in models:
        store.expect_own(model.artifact_location, model.model_id)


def _mark(store: Store, items: list[Any], models: list[Any], named: list[Any]) -> None:
    asked = {tags.DELETE: "true"}
    for row in named:
        store.client.set_registered_model_tag(row.name, tags.DELETE, "true")
    for model in models:
        store.client.set_logged_model_tags(model.model_id, asked)
    for item in items:
        if _is_deleted(item):
            store.client.restore_run(item.info.run_id)  # MLflow changes no tags of a deleted run
        store.client.set_tag(item.info.run_id, tags.DELETE, "true")


def _remove(store: Store, run: str, items: list[Any], models: list[Any], named: list[Any]) -> None:
    client = store.client
    for item in items:
        store.remove_files(item.info.artifact_uri, item.info.run_id)
        store.delete(client.delete_run, item.info.run_id)
    for model in models:
        store.remove_files(model.artifact_location, model.model_id)
        store.delete(client.delete_logged_model, model.model_id)
    for row in named:
        rows = _rows(store, row)
        ours = [one for one in rows if is_row(one, run, row.tags[tags.LINE])]
        if len(ours) == len(rows):
            store.delete(client.delete_registered_model, row.name)
            continue
        for one in ours:
            store.delete(client.delete_model_version, row.name, one.version)
        for key in (tags.RUN, tags.LINE, tags.DELETE):  # it belongs to the others now
            store.delete(client.delete_registered_model_tag, row.name, key)


def _is_deleted(item: Any) -> bool:
    return bool(item.info.lifecycle_stage == "deleted")


def _rows(store: Store, row: Any) -> list[Any]:
    return store.pages(store.client.search_model_versions, f"name='{row.name}'")
