"""What the MLflow store holds of one line's versions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.production.registry.base import RunHead, VersionPayload
from simulator.production.registry.mlflow_client import Store

__all__ = ["Stored", "Surplus", "identity_tags", "link_to", "list_stored"]

_LINK = "mlflow.modelVersions"


@dataclass(frozen=True, slots=True)
class Stored:
    """A version in the store. `number` is MLflow's own, None until its period is published.

    `linked`: the model names its row, so that MLflow's pages show the way.
    """

    model_id: str
    address: str
    tags: Mapping[str, str]
    number: str | None = None
    linked: bool = False

    @property
    def period(self) -> int:
        """The period it was made in."""
        return int(self.tags["period"])


@dataclass(frozen=True, slots=True)
class Surplus:
    """What no version needs: a model (`model_id`, `address`) cut short or made twice, or a row (`number`).

    A row is surplus when its model has another one, or is not there.
    """

    model_id: str = ""
    address: str = ""
    number: str | None = None


def link_to(name: str, number: str) -> dict[str, str]:
    """Return the tag by which MLflow's pages link a model to its row."""
    return {_LINK: json.dumps([{"name": name, "version": number}])}


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


def list_stored(
    store: Store, experiment: str, run: str, line: str, name: str
) -> tuple[dict[int, Stored], list[Surplus]]:
    """Return the versions by ordinal, and what is surplus.

    A request that was given up may still arrive, and make a model or a row a second time. Of several the same one is
    always kept: the model that has a row, else the first; the row that its model names, for that one is in use, else
    the one with the lowest number.
    """
    query = f"tags.run = '{run}' AND tags.line = '{line}'"
    with store.explaining(f"list the versions of '{line}'"):
        models = store.pages(store.client.search_logged_models, [experiment], query)
        entered = store.pages(store.client.search_model_versions, f"name='{name}'")
    named = {model.model_id: model.tags.get(_LINK) for model in models}
    rows: dict[str | None, Any] = {}
    for row in sorted(entered, key=lambda row: (not _is_named(row, named, name), int(row.version))):
        rows.setdefault(row.tags.get("model_id"), row)
    kept = _first_of_each([model for model in models if str(model.status) == "READY"], rows)
    used = {model.model_id for model in kept.values()}
    surplus = [Surplus(m.model_id, m.artifact_location) for m in models if m.model_id not in used]
    surplus += [
        Surplus(number=str(row.version))
        for row in entered
        if row.tags.get("model_id") not in used or row is not rows[row.tags.get("model_id")]
    ]
    return {ordinal: _stored(model, rows.get(model.model_id), name) for ordinal, model in kept.items()}, surplus


def _is_named(row: Any, named: Mapping[str, str | None], name: str) -> bool:
    return named.get(row.tags.get("model_id", "")) == link_to(name, str(row.version))[_LINK]


def _first_of_each(models: Sequence[Any], rows: Mapping[str | None, Any]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for model in sorted(models, key=lambda one: (one.model_id not in rows, one.creation_timestamp, one.model_id)):
        found.setdefault(int(model.tags["version"]), model)
    return found


def _stored(model: Any, row: Any | None, name: str) -> Stored:
    if row is None:
        return Stored(model.model_id, model.artifact_location, dict(model.tags))
    number = str(row.version)
    linked = link_to(name, number).items() <= model.tags.items()
    return Stored(model.model_id, model.artifact_location, dict(row.tags), number, linked)
