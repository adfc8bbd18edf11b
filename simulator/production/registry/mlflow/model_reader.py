"""Reads a model's network and weights out of its files: no code in them runs in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from simulator.errors import PluginError, ScenarioError, StoreError
from simulator.production.auditing.asking import Asking
from simulator.production.auditing.subject import Architecture, Model
from simulator.production.auditing.unpickled import UNPICKLED
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.model_files import ModelFiles
from simulator.production.registry.mlflow.models import Models
from simulator.production.registry.mlflow.ours import is_version
from simulator.production.registry.models import StoredModel
from simulator.scenario.model import Use
from simulator.tensors import weights_digest

#: bytes of an architecture's file
_LARGEST: Final = 100_000


@final
@dataclass(frozen=True, slots=True)
class Readable:
    """A model that can be read, and by which of its files; `architecture` of a pickle names no network of its own."""

    stored: StoredModel
    files: ModelFiles
    architecture: Architecture


@final
class ModelReader:
    """Reads models of a store; `given` is the architecture of those that come without, in JSON values.

    With `pickles` also one that is stored as a pickle, which is read in the processes of `asking`.
    """

    def __init__(
        self, models: Models, asking: Asking, *, given: Mapping[str, Any] | None = None, pickles: bool = False
    ) -> None:
        self._models = models
        self._asking = asking
        self._given = given
        self._pickles = pickles

    def readable(self, stored: StoredModel) -> Readable:
        """Return how to read a model, or raise `ScenarioError` with the reason why it cannot be."""
        files = self._models.files(stored, pickles=self._pickles)
        if files.refusal:
            raise ScenarioError(
                f"expected '{stored.uri}' to be a model whose weights can be read without executing it, got one that "
                f"is not: {files.refusal}"
            )
        values, where = self._architecture(stored, files)
        if files.pickle and isinstance(values, Mapping):
            values = {**values, "network": {"use": "of the pickle"}}
        return Readable(stored, files, Architecture.read(values, where))

    def model(self, found: Readable, folder: Path) -> Model:
        """Return the model, whose files are copied into `folder`: they must stay while it is asked."""
        stored, architecture = found.stored, found.architecture
        paths = self._models.fetch(stored, found.files, str(folder))
        folders = tuple(paths[name] for name in ("code",) if name in paths)
        if "pickle" in paths:
            folders += (paths["pickle"].parent,)
            network = Use.model_validate({"use": UNPICKLED, "path": str(paths["pickle"])})
            architecture = architecture.model_copy(update={"network": network})
            weights = self._unpickled(stored, architecture, folders, paths["pickle"].stat().st_size)
        else:
            weights = _weights(stored, paths["weights"])
        return Model(f"'{stored.uri}'", architecture, weights, stored.place, folders)

    def _architecture(self, stored: StoredModel, files: ModelFiles) -> tuple[Any, str]:
        """Return what is said of a model's network, and where."""
        if not files.architecture:
            if self._given is None:
                what = "channels, size and classes" if files.pickle else "network, channels, size and classes"
                raise ScenarioError(
                    f"expected '{stored.uri}' to come with an architecture.json, got none; write {what} into a file "
                    "and give it by --architecture"
                )
            return self._given, "--architecture"
        where = f"{files.architecture} of '{stored.uri}'"
        with TemporaryDirectory() as folder:
            path = self._models.fetch(stored, ModelFiles(architecture=files.architecture), folder)["architecture"]
            try:
                if path.stat().st_size > _LARGEST:
                    raise ValueError("more than 100,000 bytes")
                return json.loads(path.read_text("utf-8")), where
            except (ValueError, RecursionError) as error:
                raise ScenarioError(f"expected {where} to hold JSON values, got {error}; log the model again") from None

    def _unpickled(
        self, stored: StoredModel, architecture: Architecture, folders: tuple[Path, ...], size: int
    ) -> dict[str, Tensor]:
        try:
            return self._asking.weights(architecture.model_dump(mode="json"), folders, 3 * size)
        except PluginError as error:
            raise ScenarioError(f"expected '{stored.uri}' to hold a network that can be asked, got: {error}") from error


def _weights(stored: StoredModel, path: Path) -> dict[str, Tensor]:
    """Return the weights in a file; those of a version of ours are verified against their digest, others float32."""
    try:
        weights: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise ScenarioError(
            f"expected the weights of '{stored.uri}' to be a safetensors file, got something else ({error}); write it "
            "with safetensors.torch.save_file"
        ) from error
    if not is_version(stored.tags):  # stored in less than float32, perhaps; networks are made in that
        return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    if weights_digest(weights) != stored.tags[tags.WEIGHTS]:
        raise StoreError(
            f"expected '{stored.uri}' to have the weights it was stored with, got others; the file was changed: "
            "delete the run, or restore it"
        )
    return weights
