"""What a store holds of a run, without what may differ from run to run: ids, times, MLflow's own numbers, seconds."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from types import SimpleNamespace
from typing import Any

from simulated.mlflow_in_memory import MlflowInMemory

__all__ = ["snapshot"]


def snapshot(store: MlflowInMemory, *, local: bool = True) -> dict[str, Any]:
    """Return one value a fact. Whatever is there twice, left over or missing shows.

    Not so the files of a removed model where they are not `local`: an upload that was given up may reach a server after
    the model was removed. Nobody sees them, and `mlflow gc` takes them away.
    """
    runs = [run for run in store.run_table.values() if run.info.lifecycle_stage == "active"]
    models = [model for model in store.models.values() if model.lifecycle_stage == "active"]
    owners = models if local else list(store.models.values())
    facts: dict[str, Any] = {
        "runs": Counter(run.info.run_name for run in runs),
        "models": Counter(f"{model.tags['line']} {model.tags['ordinal']} {model.status}" for model in models),
        "registered models": sorted(store.registered),
        "lost files": sorted(name for name in store.files if not _owned(name, runs, owners)),
    }
    for run in runs:
        facts |= _of_run(run, {other.info.run_id: other.info.run_name for other in runs}, store)
    for model in models:
        facts[f"model {model.tags['line']} {model.tags['ordinal']}"] = _of_model(model, store)
    for name, found in store.registered.items():
        facts |= _of_registered(name, found, models)
    return facts


def _of_run(run: SimpleNamespace, names: dict[str, str], store: MlflowInMemory) -> dict[str, Any]:
    tags = dict(run.tags)
    if "mlflow.parentRunId" in tags:
        tags["mlflow.parentRunId"] = names.get(tags["mlflow.parentRunId"], "no such run")
    name = run.info.run_name
    facts: dict[str, Any] = {
        f"run {name}": (run.info.status, tags, run.params),
        f"metrics of {name}": sorted((k, s, "" if k.startswith("cost/") else v) for k, v, _, s in run.points),
    }
    for address, content in _files(store, run.info.artifact_uri).items():
        facts[f"file {address} of {name}"] = _content(content)
    return facts


def _of_model(model: SimpleNamespace, store: MlflowInMemory) -> Any:
    tags = {key: value for key, value in model.tags.items() if key != "mlflow.modelVersions"}
    metrics = sorted((key, step, value) for _, key, value, _, step in model.points)
    files = {name: _content(content) for name, content in _files(store, model.artifact_location).items()}
    return tags, metrics, files


def _of_registered(name: str, found: SimpleNamespace, models: list[SimpleNamespace]) -> dict[str, Any]:
    links = {model.model_id: json.loads(model.tags.get("mlflow.modelVersions", "[{}]"))[0] for model in models}
    rows = {number: row.tags.get("ordinal") for number, row in found.rows.items()}
    facts: dict[str, Any] = {
        f"rows of {name}": sorted(str(ordinal) for ordinal in rows.values()),
        f"aliases of {name}": {alias: rows.get(number, "dangling") for alias, number in found.aliases.items()},
    }
    for row in found.rows.values():
        tags = {key: value for key, value in row.tags.items() if key != "model_id"}
        if "rolled_back" in tags:  # it names a version by its number, and a kill uses numbers up
            tags["rolled_back"] = re.sub(r"(?<=to version )\d+", lambda m: f"#{rows[int(m[0])]}", tags["rolled_back"])
        linked = links.get(row.tags.get("model_id")) == {"name": name, "version": row.version}
        facts[f"row {row.tags.get('ordinal')} of {name}"] = (tags, linked)
    return facts


def _files(store: MlflowInMemory, address: str) -> dict[str, bytes]:
    return {n[len(address) + 1 :]: data for n, data in store.files.items() if n.startswith(f"{address}/")}


def _owned(name: str, runs: list[SimpleNamespace], models: list[SimpleNamespace]) -> bool:
    places = [run.info.artifact_uri for run in runs] + [model.artifact_location for model in models]
    return any(name.startswith(f"{place}/") for place in places)


def _content(content: bytes) -> str:
    """A file's hash; of a committed period the record's, for what is beside it are times and ids."""
    try:
        values = json.loads(content)
        return str(values["sha256"])
    except (ValueError, TypeError, KeyError):
        return hashlib.sha256(content).hexdigest()[:16]
