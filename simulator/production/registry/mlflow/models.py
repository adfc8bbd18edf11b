"""Finds models in MLflow by their addresses, fetches files of theirs without executing any, and marks them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, final

from simulator.errors import ScenarioError, StoreError, StoreUnavailableError
from simulator.production.auditing.subject import Place
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.mlflow.model_files import ModelFiles, files_of
from simulator.production.registry.mlflow.model_uris import ModelUri, read_uri
from simulator.production.registry.mlflow.ours import is_version, ordinal_of
from simulator.production.registry.models import FoundModels, StoredModel
from simulator.production.registry.retry import Retry

T = TypeVar("T")


@final
class Models:
    """The models of one store. Methods raise `ScenarioError` for what is not there, and `StoreError` for the store."""

    def __init__(self, store: Store, retry: Retry) -> None:
        self._store = store
        self._retry = retry

    def find(self, uri: str) -> FoundModels:
        """Return what `uri` stands for."""
        asked = read_uri(uri)
        if asked.model_id:
            return self._logged(asked)
        rows = self._asking(f"list the versions of '{asked.name}'", lambda: self._rows(asked.name))
        if not rows:
            raise ScenarioError(f"expected '{uri}' to name a registered model with versions, got none; check the name")
        number = self._number(asked)
        if number is not None and number not in (int(row.version) for row in rows):
            there = ", ".join(str(row.version) for row in rows)
            raise ScenarioError(f"expected '{uri}' to name a version that is there, got none; there are {there}")
        versions = self._versions([row for row in rows if number is None or int(row.version) <= number])
        return FoundModels(versions, versions if number is None else versions[-1:])

    def files(self, model: StoredModel, *, pickles: bool) -> ModelFiles:
        """Return which files of a model to read."""
        with TemporaryDirectory() as folder:
            path = self._fetched(model, "MLmodel", folder)
            if path is None:
                return ModelFiles(refusal="it has no MLmodel file")
            text = path.read_text("utf-8", "replace")
        return files_of(text, pickles=pickles, has=partial(self._has, model))

    def fetch(self, model: StoredModel, files: ModelFiles, folder: str) -> dict[str, Path]:
        """Copy a model's files below `folder`; return their paths by the fields of `files`."""
        found = {}
        for field in ("weights", "architecture", "pickle", "code"):
            if name := getattr(files, field):
                path = self._fetched(model, name, folder)
                if path is None:
                    raise ScenarioError(
                        f"expected '{model.uri}' to have the file {name}, got none; log the model again"
                    )
                found[field] = path
        return found

    def mark(self, model: StoredModel, about: Mapping[str, str], name: str, evidence: Mapping[str, Any]) -> None:
        """Give a model the tags `about`, in place of those of the same names, and keep `evidence` as the file `name`.

        It lies beside the model's files; of a model whose files are a run's, with that run.
        """
        self._asking(f"mark '{model.uri}'", lambda: self._mark(model, about, name, evidence))

    def _mark(self, model: StoredModel, about: Mapping[str, str], name: str, evidence: Mapping[str, Any]) -> None:
        client = self._store.client
        if model.model_id or model.run_id:
            with TemporaryDirectory() as folder:
                path = Path(folder) / Path(name).name
                path.write_text(json.dumps(evidence, indent=1), "utf-8")
                self._keep(model, path, str(Path(name).parent))
        for key, value in about.items():
            if model.number is not None:
                client.set_model_version_tag(model.name, str(model.number), key, value)
        if model.number is None:
            client.set_logged_model_tags(model.model_id, dict(about))

    def _keep(self, model: StoredModel, path: Path, folder: str) -> None:
        if model.model_id:
            self._store.keep_beside(model.model_id, model.address, path, folder)
            return
        folder = f"{folder}/{model.name}-{model.number}"
        self._store.client.log_artifact(model.run_id, str(path), folder)

    def _logged(self, asked: ModelUri) -> FoundModels:
        """Return a logged model by its id: as a version with those before it, where it is registered."""
        found = self._asking(f"give '{asked.text}'", lambda: self._model(asked.model_id))
        if found is None:
            raise ScenarioError(f"expected '{asked.text}' to be a logged model, got none; check the id")
        with suppress(ValueError, LookupError, TypeError, KeyError, ScenarioError):
            link = json.loads(found.tags[tags.MLFLOW_LINK])[0]
            linked = self.find(f"models:/{link['name']}/{link['version']}")
            if linked.chosen[0].model_id == asked.model_id:
                return linked
        alone = StoredModel(
            asked.text, found.artifact_location, _place(found.tags, 1), model_id=asked.model_id, tags=dict(found.tags)
        )
        return FoundModels([alone], [alone])

    def _number(self, asked: ModelUri) -> int | None:
        if not asked.alias:
            return asked.number
        client = self._store.client
        found = self._asking(
            f"tell the aliases of '{asked.name}'", lambda: client.get_registered_model(asked.name).aliases
        )
        if asked.alias not in found:
            there = ", ".join(sorted(found)) or "none"
            raise ScenarioError(
                f"expected '{asked.text}' to name an alias of '{asked.name}', got none; its aliases are: {there}"
            )
        return int(found[asked.alias])

    def _rows(self, name: str) -> list[Any]:
        rows = self._store.pages(self._store.client.search_model_versions, f"name='{name}'")
        ready = [row for row in rows if str(row.status) == "READY"]
        return sorted(ready, key=lambda row: int(row.version))

    def _versions(self, rows: Sequence[Any]) -> list[StoredModel]:
        found = []
        for row, place in zip(rows, _places(rows), strict=True):
            number = int(row.version)
            model_id, address = self._asking(f"give version {number} of '{row.name}'", partial(self._lies, row))
            uri = f"models:/{row.name}/{number}"
            about = (row.name, number, model_id, row.run_id or "", dict(row.tags))
            found.append(StoredModel(uri, address, place, *about))
        return found

    def _lies(self, row: Any) -> tuple[str, str]:
        """Return the logged model of a version, empty for none, and where its files are."""
        source = str(row.source)
        linked = source.removeprefix("models:/") if source.startswith("models:/m-") else ""
        noted = row.tags.get(tags.MODEL_ID) if is_version(row.tags) else None
        model_id = str(row.model_id or linked or noted or "")
        found = self._model(model_id) if model_id else None
        if found is not None:
            return model_id, str(found.artifact_location)
        if source.startswith("models:/"):  # a copy of another version, or a logged model that is gone
            return "", str(self._store.client.get_model_version_download_uri(row.name, row.version))
        if source.startswith("runs:/"):
            run, _, path = source.removeprefix("runs:/").partition("/")
            return "", f"{self._store.client.get_run(run).info.artifact_uri}/{path}"
        return "", source

    def _model(self, model_id: str) -> Any:
        """Return a logged model, or None."""
        from mlflow.exceptions import MlflowException

        try:
            return self._store.client.get_logged_model(model_id)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
                return None
            raise

    def _fetched(self, model: StoredModel, name: str, folder: str) -> Path | None:
        """Return a copy of a model's file or folder; None where it has none of that name."""
        try:
            found = self._retry.call(lambda: self._store.fetch(f"{model.address}/{name}", folder), lambda: None)
        except StoreUnavailableError:
            raise
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError) or _is_missing(error.__cause__):
                return None
            raise
        return found if found.exists() else None

    def _has(self, model: StoredModel, name: str) -> bool:
        """Return whether a model has a file of that name, which is not fetched."""
        folder, _, file = name.rpartition("/")
        deed = f"list the files of '{model.uri}'"
        return file in self._asking(deed, lambda: self._store.names(f"{model.address}/{folder}"))

    def _asking(self, deed: str, request: Callable[[], T]) -> T:
        def asked() -> T:
            with self._store.explaining(deed):
                return request()

        return self._retry.call(asked, lambda: None)


def _is_missing(error: object) -> bool:
    return getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")


def _places(rows: Sequence[Any]) -> list[Place]:
    """Return where versions stand: by what ebbdoor noted on each where it made them all, else by their numbers."""
    ours = all(is_version(row.tags) for row in rows)
    if ours and len({ordinal_of(row.tags) for row in rows}) == len(rows):
        return [_place(row.tags, int(row.version)) for row in rows]
    numbers = [int(row.version) for row in rows]
    return [
        Place(number - 1, before - 1 if before is not None else None, number - 1)
        for number, before in zip(numbers, [None, *numbers], strict=False)
    ]


def _place(known: Mapping[str, str], number: int) -> Place:
    if not is_version(known):
        return Place(number - 1, None, number - 1)
    parent = known.get(tags.PARENT, "none")
    ordinal = ordinal_of(known)
    served = ordinal == 0 or known.get(tags.GATE, "").startswith("promoted")
    return Place(ordinal, int(parent) if parent.isdigit() else None, int(known[tags.PERIOD]), served)
