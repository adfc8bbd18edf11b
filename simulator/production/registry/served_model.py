"""The model file that MLflow stores beside a version's weights and runs when the version is loaded (models from code).

It is copied as it stands, so its imports are absolute, and it holds no weights and no pickle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from safetensors.torch import load_file

from simulator.production.training.networks import build_network
from simulator.production.training.weights import load_into
from simulator.scenario.model import Use

#: how far a fraction may be outside [0, 1]: what resizing and normalising back leave
_ROUNDING = 1e-4


class ServedModel(PythonModel):  # type: ignore[misc]  # MLflow has no type information
    """Images in, logits out. `network` is the module itself, on the CPU in eval mode, ready to be trained further.

    `shape` is (C, H, W) of one image.
    """

    network: torch.nn.Module
    shape: tuple[int, int, int]

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
        self.shape = known["channels"], height, width

    # MLflow refuses type hints that it cannot turn into a schema, except a bare array.
    @torch.no_grad()
    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Return logits float32 (N, classes) of images (N, C, H, W): whole numbers in 0..255, or fractions in [0, 1].

        What they are is told by their type. Raises `MlflowException` for other shapes, types and values.
        """
        images = torch.from_numpy(fractions(np.asarray(model_input), self.shape))
        parts = [self.network(part).float() for part in images.split(500)]
        return torch.cat(parts).numpy()


def fractions(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return `images` as float32 in [0, 1]; `MlflowException` says what is wrong with them."""
    if images.ndim != 4 or images.shape[1:] != shape:
        raise MlflowException.invalid_parameter_value(
            f"expected images of shape (N, {', '.join(map(str, shape))}), got {images.shape}; rearrange or resize them"
        )
    if images.dtype.kind not in "iuf":
        raise MlflowException.invalid_parameter_value(
            f"expected images to be whole numbers in 0..255 or fractions in [0, 1], got {images.dtype}; convert them"
        )
    whole = images.dtype.kind in "iu"
    highest, words = (255, "whole numbers in 0..255") if whole else (1, "fractions in [0, 1]")
    if images.size and not (images.min() >= -_ROUNDING and images.max() <= highest + _ROUNDING):  # NaN neither
        raise MlflowException.invalid_parameter_value(
            f"expected images of {images.dtype} to be {words}, got {images.min()} to {images.max()}; "
            f"{'scale them' if whole else 'divide by 255, or give uint8'}"
        )
    scaled = images.astype(np.float32)  # a copy: the caller's may be read-only
    return scaled / np.float32(255) if whole else scaled


set_model(ServedModel())
