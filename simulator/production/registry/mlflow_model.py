"""A version's files: a model that loads without pickle, and can be trained further."""

from __future__ import annotations

import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from simulator.production.registry.base import VersionPayload

__all__ = ["WEIGHTS", "write_model"]

#: where the weights lie inside a saved model
WEIGHTS = "artifacts/weights.safetensors"


def write_model(payload: VersionPayload, folder: Path, *, model_id: str, run_id: str) -> Path:
    """Write `folder/model`: MLflow's files, our model file, `weights.safetensors` and `architecture.json`."""
    import mlflow.pyfunc
    import torch
    from mlflow.models import Model
    from safetensors.torch import save_file

    weights, architecture = folder / "weights.safetensors", folder / "architecture.json"
    save_file(
        {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in payload.weights.items()
        },
        weights,
    )
    architecture.write_text(json.dumps(dict(payload.architecture), indent=1))
    with warnings.catch_warnings():
        # MLflow asks for an example input; the signature is given, and an example would be run on every save.
        warnings.filterwarnings("ignore", message=".*An input example was not provided", category=UserWarning)
        mlflow.pyfunc.save_model(
            str(folder / "model"),
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"weights": str(weights), "architecture": str(architecture)},
            signature=_signature(payload.architecture),
            # given, so that MLflow does not look for them: it takes seconds and wants the network
            pip_requirements=[f"{name}=={version(name)}" for name in ("ebbdoor", "torch", "safetensors", "numpy")],
            mlflow_model=Model(model_id=model_id, run_id=run_id),
        )
    return folder / "model"


def _signature(architecture: Any) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    float32 = np.dtype("float32")
    images = TensorSpec(float32, (-1, architecture["channels"], *architecture["size"]))
    return ModelSignature(Schema([images]), Schema([TensorSpec(float32, (-1, architecture["classes"]))]))
