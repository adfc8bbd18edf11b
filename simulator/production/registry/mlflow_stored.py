"""What the MLflow store holds of one line's versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.production.registry.base import RunHead, VersionPayload
from simulator.production.registry.mlflow_client import Store

__all__ = ["Stored", "identity_tags", "list_stored"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A version in the store. `number` is MLflow's own, None until its period is published."""

    model_id: str
    address: str
    tags: Mapping[str, str]
    number: str | None = None

    @property
    def period(self) -> int:
        """The period it was made in."""
        return int(self.tags["period"])


def identity_tags(head: RunHead, payload: VersionPayload) -> dict[str, str]:
    """Return the tags that say which version this is; `weights` is the SHA-256 of its weights."""
    from simulator.production.training.weights import weights_digest  # with torch, which reading a ledger does not need

    return {
        "run": head.run,
        "line": payload.line.name,
        "arm": payload.line.arm,
        "twin": str(payload.line.control != "none").lower(),
        "version": str(payload.ordinal),
        "parent": "none" if payload.parent is None else str(payload.parent),
        "period": str(payload.period),
        "weights": weights_digest(dict(payload.weights)),
        "scenario_digest": head.scenario_digest,
        "seed": str(head.scenario.get("seed", "")),
    }


def list_stored(store: Store, experiment: str, run: str, line: str, name: str) -> tuple[dict[int, Stored], list[Any]]:
    """Return the versions by ordinal, and the logged models whose writing was cut short."""
    query = f"tags.run = '{run}' AND tags.line = '{line}'"
    with store.explaining(f"list the versions of '{line}'"):
        models = store.pages(store.client.search_logged_models, [experiment], query)
        entered = store.pages(store.client.search_model_versions, f"name='{name}'")
    rows = {row.tags.get("model_id"): row for row in entered}
    stored: dict[int, Stored] = {}
    torn = [model for model in models if str(model.status) != "READY"]
    for model in models:
        if model in torn:
            continue
        row = rows.get(model.model_id)
        tags = dict(model.tags) if row is None else dict(row.tags)
        number = None if row is None else str(row.version)
        stored[int(tags["version"])] = Stored(model.model_id, model.artifact_location, tags, number)
    return stored, torn
