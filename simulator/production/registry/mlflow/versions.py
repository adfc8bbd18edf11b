"""The versions of one lineage as they are written: logged models (the files) and rows of a registered model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, final

from simulator.errors import StoreError
from simulator.production.lineage import ALIASES, LineageState
from simulator.production.registry.base import RunHead, VersionPayload
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.mlflow.edited import expect_removable, expect_unedited
from simulator.production.registry.mlflow.model import write_model
from simulator.production.registry.mlflow.runs import Runs
from simulator.production.registry.mlflow.stored import Stored, find_name, link_to, list_stored, shown_number
from simulator.production.registry.naming import registered_model
from simulator.records import LineageKey

if TYPE_CHECKING:
    from torch import Tensor


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
        self.name = self._opened_name()
        self.stored, self._surplus = list_stored(store, runs.experiment, head.run, lineage.name, self.name)

    def add(self, payload: VersionPayload, now: LineageState | None) -> Stored:
        """Store a version's files, once: the same weights again change nothing, others replace them.

        `now`: where the line stands by the ledger, as far as it is known; nothing that is committed is replaced.
        """
        identity = identity_tags(self._head, payload)
        known = self.stored.get(payload.ordinal)
        if known is not None and known.tags[tags.WEIGHTS] == identity[tags.WEIGHTS]:
            return known
        self.clear(now)
        if known is not None and known.period != payload.period:
            raise StoreError(
                f"expected version {self._shown(payload.ordinal)} of '{self._lineage.name}' to be new in period "
                f"{payload.period}, got one of period {known.period}, which is kept; see `ebbdoor reconcile --dry-run`"
            )
        if known is not None:
            if now is not None:
                expect_removable(self._lineage, now, [payload.ordinal], self.stored, ())
            self._expect_unnamed([str(known.number)])
            self.drop(payload.ordinal)
        run_id = self._runs.of(self._lineage)
        with self._store.explaining(f"keep the version of period {payload.period} of '{self._lineage.name}'"):
            client = self._store.client
            label = f"{self._head.run}-{self._lineage.name.replace('.', '-')}-period-{payload.period}"
            model = client.create_logged_model(self._runs.experiment, label, run_id, identity, model_type="ebbdoor")
            self._store.expect_here(model.artifact_location)
            with TemporaryDirectory() as folder:
                files = write_model(payload, Path(folder), model_id=model.model_id, run_id=run_id)
                client.log_model_artifacts(model.model_id, str(files))
                self._store.sync(model.artifact_location)
            client.finalize_logged_model(model.model_id, "READY")
        self.stored[payload.ordinal] = Stored(
            model.model_id, model.artifact_location, identity, ready=True, model_tags=identity, run_id=run_id
        )
        return self.stored[payload.ordinal]

    def enter(self, ordinal: int, about: Mapping[str, str]) -> None:
        """Give a stored version its row in the registry with the tags `about`, or bring the row's up to date."""
        stored = self.get(ordinal)
        with self._store.explaining(f"enter version {self._shown(ordinal)} of '{self._lineage.name}'"):
            if stored.number is None:
                self._enter_new(ordinal, stored, {**stored.tags, **about, tags.MODEL_ID: stored.model_id})
            else:
                self._update(ordinal, stored, about)
            self._link(ordinal)

    def get(self, ordinal: int) -> Stored:
        """Return a stored version, or raise `StoreError`."""
        if ordinal not in self.stored:
            raise StoreError(
                f"expected version {self._shown(ordinal)} of '{self._lineage.name}' to be in the registry, got none; "
                "it was deleted in MLflow, or never registered"
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
                f"expected version {self._shown(ordinal)} of '{self._lineage.name}' to have the weights it was stored "
                "with, got others; the file was changed: delete the run, or restore it"
            )
        return weights

    def attach(self, ordinal: int, files: Mapping[str, bytes]) -> None:
        """Add files, by their paths, to a version's model, if that is there."""
        stored = self.get(ordinal)
        if stored.bare or not files:
            return
        with TemporaryDirectory() as folder:
            for name, content in files.items():
                path = Path(folder) / Path(name).name
                with self._store.explaining(f"keep {name}"):
                    path.write_bytes(content)
                    self._store.keep_beside(stored.model_id, stored.address, path, str(Path(name).parent))

    def aliases(self) -> dict[str, str]:
        """Return alias -> MLflow's number as they are now: a move that was given up may have arrived since."""
        with self._store.explaining(f"read the aliases of '{self._lineage.name}'"):
            found = self._store.client.get_registered_model(self.name).aliases
        return {alias: str(number) for alias, number in found.items()}

    def point(self, aliases: Mapping[str, int], named: Mapping[str, str], *, keep: Collection[str] = ()) -> None:
        """Make our aliases but those in `keep` name these ordinals; `named` is where they are now.

        Aliases that others made are not touched, and one whose version was deleted in MLflow stays away.
        """
        wanted = {alias: self.stored[ordinal].number for alias, ordinal in aliases.items() if ordinal in self.stored}
        with self._store.explaining(f"move the aliases of '{self._lineage.name}'"):
            for alias in [alias for alias in named if alias in ALIASES and alias not in (*wanted, *keep)]:
                self._store.delete(self._store.client.delete_registered_model_alias, self.name, alias)
            for alias, number in wanted.items():
                if number is not None and named.get(alias) != number and alias not in keep:
                    self._store.client.set_registered_model_alias(self.name, alias, number)

    def expect_unedited(self, now: LineageState) -> None:
        """Raise `StoreError` when a person edited a tag by which a committed version is known."""
        expect_unedited(self._lineage, now, self.stored, self._surplus)

    def expect_removable(self, ordinals: Collection[int], now: LineageState) -> None:
        """Raise `StoreError` unless `ordinals` and what is surplus can go: nothing that `now` has is among them."""
        expect_removable(self._lineage, now, ordinals, self.stored, self._surplus)

    def forget(self, ordinals: Collection[int], now: LineageState) -> None:
        """Remove versions and what is surplus; nothing that `now` has, and none to which a person gave an alias."""
        self.expect_removable(ordinals, now)
        self._expect_unnamed(str(self.stored[ordinal].number) for ordinal in ordinals)
        for ordinal in ordinals:
            self.drop(ordinal)
        self.clear(now)

    def clear(self, now: LineageState | None) -> None:
        """Remove what is surplus: cut short, or there twice. Models name the rows that are left.

        Where the line stands is not known (None): only models that were cut short go.
        """
        if now is not None:
            self.expect_removable((), now)
        spare = [one for one in self._surplus if now is not None or (one.number is None and not one.ready)]
        self._expect_unnamed(str(item.number) for item in spare)
        with self._store.explaining(f"clear '{self._lineage.name}'"):
            for item in spare:
                if item.number is None:
                    self._remove_model(item.model_id, item.address)
                else:
                    self._store.delete(self._store.client.delete_model_version, self.name, item.number)
            self._surplus = [one for one in self._surplus if one not in spare]
            for ordinal in self.stored:
                self._link(ordinal)

    def drop(self, ordinal: int) -> None:
        """Remove one version: row, aliases, model and files."""
        stored = self.stored[ordinal]
        with self._store.explaining(f"remove version {self._shown(ordinal)} of '{self._lineage.name}'"):
            if stored.number is not None:
                self._store.delete(self._store.client.delete_model_version, self.name, stored.number)
            if stored.bare:
                self._store.remove_files(stored.address, stored.model_id)
            else:
                self._remove_model(stored.model_id, stored.address)
        del self.stored[ordinal]

    def _expect_unnamed(self, numbers: Iterable[str]) -> None:
        """Raise `StoreError` when an alias that is not ours names one of these: it would go with the version."""
        wanted = {number for number in numbers if number != "None"}
        named = self.aliases() if wanted else {}
        for alias, number in named.items():
            if number in wanted and alias not in ALIASES:
                raise StoreError(
                    f"expected version {number} of '{self.name}', which was never committed, to have no alias of "
                    f"somebody else's, got '{alias}', which would go with it; nothing is removed: give that alias to "
                    "another version, or delete it, and go on"
                )

    def _shown(self, ordinal: int) -> str:
        return shown_number(ordinal, self.stored)

    def _remove_model(self, model_id: str, address: str) -> None:
        # Marked first: a request that was given up may still arrive, and call a model ready whose files are gone. The
        # mark may arrive late as well, so what was once to go is never used again, whatever it looks like by then.
        self._store.removing.add(model_id)
        self._store.delete(self._store.client.set_logged_model_tags, model_id, {tags.REMOVED: "true"})
        self._store.remove_files(address, model_id)
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
        if not stored.linked and not stored.bare and stored.number is not None:
            self._store.client.set_logged_model_tags(stored.model_id, link_to(self.name, stored.number))
            self.stored[ordinal] = replace(stored, linked=True)

    def _opened_name(self) -> str:
        """Return what the registered model is called; it is made when it is not there."""
        run, lineage = self._head.run, self._lineage.name
        if (found := find_name(self._store, run, lineage)) is not None:
            return found
        name = registered_model(run, lineage)
        with self._store.explaining(f"hold the model '{name}'"):
            about = {tags.RUN: run, tags.LINE: lineage}
            self._store.create(self._store.client.create_registered_model, name, tags=about)
        return name
