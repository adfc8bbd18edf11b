"""The versions of one lineage: MLflow's logged models (the files) and model versions (the registry's rows).

`list_stored` reads what the store holds, `Versions` changes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, final

from simulator.errors import StoreError
from simulator.production.registry.base import RunHead, VersionPayload
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.mlflow.model import write_model
from simulator.production.registry.mlflow.runs import Runs
from simulator.production.registry.naming import registered_model
from simulator.records import LineageKey

if TYPE_CHECKING:
    from torch import Tensor


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
        return int(self.tags[tags.PERIOD])


def link_to(name: str, number: str) -> dict[str, str]:
    """Return the tag by which MLflow's pages link a model to its row."""
    return {tags.MLFLOW_LINK: json.dumps([{"name": name, "version": number}])}


def identity_tags(head: RunHead, payload: VersionPayload) -> dict[str, str]:
    """Return the tags that say which version this is; `weights` is the SHA-256 of its weights."""
    from simulator.tensors import weights_digest  # with torch, which reading a ledger does not need

    return {
        tags.RUN: head.run,
        **tags.lineage_tags(payload.lineage),
        tags.VERSION: str(payload.ordinal),
        tags.PARENT: "none" if payload.parent is None else str(payload.parent),
        tags.PERIOD: str(payload.period),
        tags.WEIGHTS: weights_digest(dict(payload.weights)),
        tags.SCENARIO_DIGEST: head.scenario_digest,
        tags.SEED: str(head.scenario.get("seed", "")),
    }


def list_stored(
    store: Store, experiment: str, run: str, lineage: str, name: str
) -> tuple[dict[int, Stored], list[Stored]]:
    """Return the versions by ordinal, and what is surplus.

    Surplus are models that were cut short or made twice (without a `number`), and rows whose model has another row or
    is not there (with one).

    A request that was given up may still arrive, and make a model or a row a second time. Of several the same one is
    always kept: the model that has a row, else the first; the row that its model names, for that one is in use, else
    the one with the lowest number.
    """
    query = f"tags.{tags.RUN} = '{run}' AND tags.{tags.LINE} = '{lineage}'"
    with store.explaining(f"list the versions of '{lineage}'"):
        models = store.pages(store.client.search_logged_models, [experiment], query)
        entered = store.pages(store.client.search_model_versions, f"name='{name}'")
    named = {model.model_id: model.tags.get(tags.MLFLOW_LINK) for model in models}
    rows: dict[str | None, Any] = {}
    for row in sorted(entered, key=lambda row: (not _is_named(row, named, name), int(row.version))):
        rows.setdefault(row.tags.get(tags.MODEL_ID), row)
    ready = [model for model in models if str(model.status) == "READY" and tags.REMOVED not in model.tags]
    kept = _first_of_each(ready, rows)
    used = {model.model_id for model in kept.values()}
    surplus = [_stored(model, None, name) for model in models if model.model_id not in used]
    surplus += [
        Stored("", "", dict(row.tags), str(row.version))
        for row in entered
        if row.tags.get(tags.MODEL_ID) not in used or row is not rows[row.tags.get(tags.MODEL_ID)]
    ]
    return {ordinal: _stored(model, rows.get(model.model_id), name) for ordinal, model in kept.items()}, surplus


def _is_named(row: Any, named: Mapping[str, str | None], name: str) -> bool:
    return named.get(row.tags.get(tags.MODEL_ID, "")) == link_to(name, str(row.version))[tags.MLFLOW_LINK]


def _first_of_each(models: Sequence[Any], rows: Mapping[str | None, Any]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for model in sorted(models, key=lambda one: (one.model_id not in rows, one.creation_timestamp, one.model_id)):
        found.setdefault(int(model.tags[tags.VERSION]), model)
    return found


def _stored(model: Any, row: Any | None, name: str) -> Stored:
    if row is None:
        return Stored(model.model_id, model.artifact_location, dict(model.tags))
    number = str(row.version)
    linked = link_to(name, number).items() <= model.tags.items()
    return Stored(model.model_id, model.artifact_location, dict(row.tags), number, linked)


@final
class Versions:
    """One lineage's versions by ordinal, read once and then kept in step: the run's holder is the only writer.

    After a failure make another: it is not known which writes arrived.
    """

    def __init__(self, store: Store, runs: Runs, head: RunHead, lineage: LineageKey) -> None:
        self._store = store
        self._runs = runs
        self._lineage = lineage
        self._head = head
        self.name = registered_model(head.run, lineage.name)
        self._open_name()
        self.stored, self._surplus = list_stored(store, runs.experiment, head.run, lineage.name, self.name)

    def add(self, payload: VersionPayload) -> Stored:
        """Store a version's files, once: the same weights again change nothing, others replace them."""
        identity = identity_tags(self._head, payload)
        known = self.stored.get(payload.ordinal)
        if known is not None and known.tags[tags.WEIGHTS] == identity[tags.WEIGHTS]:
            return known
        self.clear()
        if known is not None:
            self.drop(payload.ordinal)
        run_id = self._runs.of(self._lineage)
        with self._store.explaining(f"keep version {payload.ordinal} of '{self._lineage.name}'"):
            client = self._store.client
            label = f"{self._head.run}-{self._lineage.name.replace('.', '-')}-{payload.ordinal}"
            model = client.create_logged_model(self._runs.experiment, label, run_id, identity, model_type="ebbdoor")
            with TemporaryDirectory() as folder:
                files = write_model(payload, Path(folder), model_id=model.model_id, run_id=run_id)
                client.log_model_artifacts(model.model_id, str(files))
                self._store.sync(model.artifact_location)
            client.finalize_logged_model(model.model_id, "READY")
        self.stored[payload.ordinal] = Stored(model.model_id, model.artifact_location, identity)
        return self.stored[payload.ordinal]

    def enter(self, ordinal: int, about: Mapping[str, str]) -> None:
        """Give a stored version its row in the registry with the tags `about`, or bring the row's up to date."""
        stored = self.get(ordinal)
        with self._store.explaining(f"enter version {ordinal} of '{self._lineage.name}'"):
            if stored.number is None:
                self._enter_new(ordinal, stored, {**stored.tags, **about, tags.MODEL_ID: stored.model_id})
            else:
                self._update(ordinal, stored, about)
            self._link(ordinal)

    def get(self, ordinal: int) -> Stored:
        """Return a stored version, or raise `StoreError`."""
        if ordinal not in self.stored:
            raise StoreError(
                f"expected version {ordinal} of '{self._lineage.name}' to be in the registry, got none; "
                "register it first"
            )
        return self.stored[ordinal]

    def weights(self, ordinal: int) -> dict[str, Tensor]:
        """Return a version's weights, verified against their digest."""
        from safetensors import SafetensorError  # with torch, which reading a ledger does not need
        from safetensors.torch import load_file

        from simulator.tensors import weights_digest

        stored = self.get(ordinal)
        with TemporaryDirectory() as folder:
            path = self._store.fetch(f"{stored.address}/{tags.WEIGHTS_FILE}", folder)
            try:
                weights = load_file(path)
            except SafetensorError:
                weights = {}
        if weights_digest(weights) != stored.tags[tags.WEIGHTS]:
            raise StoreError(
                f"expected version {ordinal} of '{self._lineage.name}' to have the weights it was stored with, got "
                "others; the file was changed: delete the run, or restore it"
            )
        return weights

    def attach(self, ordinal: int, name: str, values: Any) -> None:
        """Add a JSON file to a version's model."""
        with TemporaryDirectory() as folder, self._store.explaining(f"keep {name}"):
            path = Path(folder) / Path(name).name
            path.write_text(json.dumps(values, indent=1))
            stored = self.get(ordinal)
            self._store.client.log_model_artifact(stored.model_id, str(path), str(Path(name).parent))
            self._store.sync(f"{stored.address}/{name}")

    def point(self, aliases: Mapping[str, int]) -> None:
        """Make the aliases name these ordinals, and no others."""
        wanted = {alias: self.get(ordinal).number for alias, ordinal in aliases.items()}
        with self._store.explaining(f"move the aliases of '{self._lineage.name}'"):
            # read each time: a move that was given up may have arrived since, and moved an alias back
            named = self._store.client.get_registered_model(self.name).aliases
            for alias in [alias for alias in named if alias not in wanted]:
                self._store.delete(self._store.client.delete_registered_model_alias, self.name, alias)
            for alias, number in wanted.items():
                if number is not None and str(named.get(alias)) != number:
                    self._store.client.set_registered_model_alias(self.name, alias, number)

    def forget_after(self, period: int) -> None:
        """Remove versions made after `period`, and what is surplus."""
        for ordinal in [ordinal for ordinal, stored in self.stored.items() if stored.period > period]:
            self.drop(ordinal)
        self.clear()

    def clear(self) -> None:
        """Remove what is surplus: cut short, or there twice. Models name the rows that are left."""
        with self._store.explaining(f"clear '{self._lineage.name}'"):
            for item in self._surplus:
                if item.number is None:
                    self._remove_model(item.model_id, item.address)
                else:
                    self._store.delete(self._store.client.delete_model_version, self.name, item.number)
            self._surplus = []
            for ordinal in self.stored:
                self._link(ordinal)

    def drop(self, ordinal: int) -> None:
        """Remove one version: row, aliases, model and files."""
        stored = self.stored[ordinal]
        with self._store.explaining(f"remove version {ordinal} of '{self._lineage.name}'"):
            if stored.number is not None:
                self._store.delete(self._store.client.delete_model_version, self.name, stored.number)
            self._remove_model(stored.model_id, stored.address)
        del self.stored[ordinal]

    def _remove_model(self, model_id: str, address: str) -> None:
        # Marked first: a request that was given up may still arrive, and call a model ready whose files are gone.
        self._store.delete(self._store.client.set_logged_model_tags, model_id, {tags.REMOVED: "true"})
        self._store.remove_files(address)
        self._store.delete(self._store.client.delete_logged_model, model_id)

    def _enter_new(self, ordinal: int, stored: Stored, about: dict[str, str]) -> None:
        client = self._store.client
        row = client.create_model_version(
            self.name,
            stored.address,
            self._runs.of(self._lineage),
            about,
            await_creation_for=0,
            model_id=stored.model_id,
        )
        self.stored[ordinal] = replace(stored, number=str(row.version), tags=about)

    def _update(self, ordinal: int, stored: Stored, about: Mapping[str, str]) -> None:
        changed = {key: value for key, value in about.items() if stored.tags.get(key) != value}
        for key, value in changed.items():
            self._store.client.set_model_version_tag(self.name, stored.number, key, value)
        self.stored[ordinal] = replace(stored, tags={**stored.tags, **changed})

    def _link(self, ordinal: int) -> None:
        stored = self.stored[ordinal]
        if not stored.linked and stored.number is not None:
            self._store.client.set_logged_model_tags(stored.model_id, link_to(self.name, stored.number))
            self.stored[ordinal] = replace(stored, linked=True)

    def _open_name(self) -> None:
        about = {tags.RUN: self._head.run, tags.LINE: self._lineage.name}
        with self._store.explaining(f"hold the model '{self.name}'"):
            self._store.create(self._store.client.create_registered_model, self.name, tags=about)
