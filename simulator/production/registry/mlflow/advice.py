"""How to undo in MLflow what was done there by hand, in words that can be copied and executed in any folder."""

from __future__ import annotations

from simulator.production.registry.mlflow.client import Store


def command(store: Store, arguments: str) -> str:
    """Return an MLflow command for this store, to be executed in a POSIX shell in any folder."""
    return f"`MLFLOW_TRACKING_URI='{store.shown}' mlflow {arguments}`"


def restore_experiment(store: Store, number: str) -> str:
    """Return the command that restores a deleted experiment."""
    return command(store, f"experiments restore --experiment-id {number}")


def rename_experiment(store: Store, number: str, name: str) -> str:
    """Return the command that renames an experiment."""
    return command(store, f"experiments rename --experiment-id {number} --new-name {name}")


def restore_run(store: Store, run_id: str) -> str:
    """Return the command that restores a deleted MLflow run."""
    return command(store, f"runs restore --run-id {run_id}")
