"""What MLflow holds of a lineage's versions: logged models (the files) and rows of a registered model; only read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.mlflow.ours import is_model, is_row, is_version, ordinal_of
from simulator.production.registry.naming import registered_model


@dataclass(frozen=True, slots=True)
class Stored:
    """A version in the store. `number` is MLflow's own, None until its period is published.

    `linked`: the model names its row, so that MLflow's pages show the way. `bare`: somebody deleted its logged model,
    and only the row is left, which says where the files are. `ready`: its logged model was finished; `model_tags` are
    that model's, for `tags` are the row's where there is one; `run_id`: the MLflow run that made it, not editable.
    """

    model_id: str
    address: str
    tags: Mapping[str, str]
    number: str | None = None
    linked: bool = False
    bare: bool = False
    ready: bool = False
    model_tags: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""

    @property
    def period(self) -> int:
        """The period it was made in."""
        return int(self.tags[tags.PERIOD])


def numbers_of(stored: Mapping[int, Stored]) -> dict[int, int]:
    """Return MLflow's numbers of the versions that have a row, by ordinal."""
    return {ordinal: int(one.number) for ordinal, one in stored.items() if one.number is not None}


def shown_number(ordinal: int, stored: Mapping[int, Stored]) -> str:
    """Return the number under which people know a version: MLflow's, or the one that it would have got.

    Where somebody deleted its row, that is the number which the row had: its logged model still says so.
    """
    number = _known_number(ordinal, stored)
    return str(ordinal + 1) if number is None else number


def named_version(ordinal: int, stored: Mapping[int, Stored]) -> str:
    """Return a committed version as a sentence names it: by MLflow's number, or by its ordinal where that is lost.

    Where row and logged model are gone nothing tells the number, and MLflow may have given the one that is next to the
    ordinal to another version.
    """
    number = _known_number(ordinal, stored)
    return f"the version with the ordinal {ordinal}" if number is None else f"version {number}"


def _known_number(ordinal: int, stored: Mapping[int, Stored]) -> str | None:
    """Return MLflow's number of a version by its row, or by its logged model; None where both are gone."""
    one = stored.get(ordinal)
    return None if one is None else one.number or linked_number(one.model_tags)


def linked_number(known: Mapping[str, str]) -> str | None:
    """Return the number of the row that a logged model with the tags `known` names; None where it names none."""
    try:
        return str(json.loads(known.get(tags.MLFLOW_LINK, "[]"))[0]["version"])
    except (ValueError, LookupError, TypeError):  # no row yet, or edited by hand
        return None


def link_to(name: str, number: str) -> dict[str, str]:
    """Return the tag by which MLflow's pages link a model to its row."""
    return {tags.MLFLOW_LINK: json.dumps([{"name": name, "version": number}])}


def find_name(store: Store, run: str, lineage: str) -> str | None:
    """Return what a lineage's registered model is called, also after somebody renamed it; None when there is none."""
    wanted = registered_model(run, lineage)
    with store.explaining(f"find the model '{wanted}'"):
        rows = store.pages(store.client.search_registered_models, f"name = '{wanted}'")
        if not rows:
            rows = store.pages(store.client.search_registered_models, f"tags.{tags.RUN} = '{run}'")
    renamed = [row.name for row in rows if is_model(row) and row.tags[tags.LINE] == lineage]
    return wanted if any(row.name == wanted for row in rows) else next(iter(sorted(renamed)), None)


def list_stored(
    store: Store, experiment: str, run: str, lineage: str, name: str
) -> tuple[dict[int, Stored], list[Stored]]:
    """Return the versions by ordinal, and what is surplus. What is not ours is neither.

    Surplus are models that were cut short or made twice (without a `number`), and second rows of a version (with one).

    A request that was given up may still arrive, and make a model or a row a second time. Of several the same one is
    always kept: the model that has a row, else the first; the row that its model names, for that one is in use, else
    the one with the lowest number.
    """
    query = f"tags.{tags.RUN} = '{run}' AND tags.{tags.LINE} = '{lineage}'"
    with store.explaining(f"list the versions of '{lineage}'"):
        models = [m for m in store.pages(store.client.search_logged_models, [experiment], query) if is_version(m.tags)]
        entered = store.pages(store.client.search_model_versions, f"name='{name}'")
    entered = [row for row in entered if is_row(row, run, lineage)]
    named = {model.model_id: model.tags.get(tags.MLFLOW_LINK) for model in models}
    rows: dict[str | None, Any] = {}
    for row in sorted(entered, key=lambda row: (not _is_named(row, named, name), int(row.version))):
        rows.setdefault(row.tags[tags.MODEL_ID], row)
    ready = [model for model in models if _is_ready(model) and model.model_id not in store.removing]
    kept = {ordinal: _stored(model, rows.get(model.model_id), name) for ordinal, model in _first(ready, rows).items()}
    for row in rows.values():
        if row.tags[tags.MODEL_ID] not in named:
            bare = Stored(row.tags[tags.MODEL_ID], row.source, dict(row.tags), str(row.version), bare=True)
            kept.setdefault(ordinal_of(row.tags), bare)
    used = {stored.model_id: stored.number for stored in kept.values()}
    surplus = [_stored(model, None, name) for model in models if model.model_id not in used]
    surplus += [
        Stored(row.tags[tags.MODEL_ID], row.source, dict(row.tags), str(row.version))
        for row in entered
        if used.get(row.tags[tags.MODEL_ID]) != str(row.version)
    ]
    return kept, surplus


def _is_named(row: Any, named: Mapping[str, str | None], name: str) -> bool:
    return named.get(row.tags[tags.MODEL_ID]) == link_to(name, str(row.version))[tags.MLFLOW_LINK]


def _first(models: Sequence[Any], rows: Mapping[str | None, Any]) -> dict[int, Any]:
    """Return the model that is used of each version."""
    found: dict[int, Any] = {}
    for model in sorted(models, key=lambda one: (one.model_id not in rows, one.creation_timestamp, one.model_id)):
        found.setdefault(ordinal_of(model.tags), model)
    return found


def _is_ready(model: Any) -> bool:
    return str(model.status) == "READY" and tags.REMOVED not in model.tags


def _stored(model: Any, row: Any | None, name: str) -> Stored:
    known = dict(model.tags)
    found = Stored(
        model.model_id,
        model.artifact_location,
        known,
        ready=_is_ready(model),
        model_tags=known,
        run_id=str(model.source_run_id),
    )
    if row is None:
        return found
    number = str(row.version)
    return replace(found, tags=dict(row.tags), number=number, linked=link_to(name, number).items() <= known.items())
