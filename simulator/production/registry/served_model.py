"""The model file that MLflow stores beside a version's weights and runs when the version is loaded (models from code).

It is copied as it stands, so its imports are absolute, and it holds no weights and no pickle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from safetensors.torch import load_file

from simulator.production.training.networks import build_network
from simulator.production.training.weights import load_into
from simulator.scenario.model import Use


class ServedModel(PythonModel):  # type: ignore[misc]  # MLflow has no type information
    """Images in, logits out. `network` is the module itself, on the CPU in eval mode, ready to be trained further."""

    network: torch.nn.Module

    def load_context(self, context: Any) -> None:
        """Rebuild the network from `architecture.json` and `weights.safetensors`."""
        known = json.loads(Path(context.artifacts["architecture"]).read_text("utf-8"))
        height, width = known["size"]
        network = build_network(
            Use.model_validate(known["network"]),
            channels=known["channels"],
            size=(height, width),
            classes=known["classes"],
            seed=0,
        )
        load_into(network, load_file(context.artifacts["weights"]))
        self.network = network.eval()

    # MLflow refuses type hints that it cannot turn into a schema, except a bare array.
    @torch.no_grad()
    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Return logits float32 (N, classes) of images (N, C, H, W), float32 in [0, 1] or uint8.

        The version's signature is float32, which MLflow enforces before it calls; `unwrap_python_model()` takes both.
        """
        images = torch.from_numpy(np.array(model_input))  # a copy: the caller's may be read-only
        if images.dtype == torch.uint8:
            images = images.float() / 255
        parts = [self.network(part).float() for part in images.split(500)]
        return torch.cat(parts).numpy()


set_model(ServedModel())
