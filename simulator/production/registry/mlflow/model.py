"""A version's files: a model that loads without pickle, and can be trained further."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from simulator.guard.own_files import Code, code_of_module, is_users_file
from simulator.production.registry.base import VersionPayload
from simulator.production.registry.mlflow.tags import ARCHITECTURE_FILE, WEIGHTS_FILE
from simulator.scenario import catalog
from simulator.scenario.code import distributions_of

_CODE = "served_model.py"
#: where the user's own modules lie
_CODE_FOLDER = "code"
_NEEDED = ("mlflow", "ebbdoor", "torch", "safetensors", "numpy")


def write_model(payload: VersionPayload, folder: Path, *, model_id: str, run_id: str) -> Path:
    """Write `folder/model`: MLflow's files, our model file, `weights.safetensors` and `architecture.json`.

    They are those of `mlflow.pyfunc.save_model` for a model from code. It is not called, for each time it runs the
    model file and looks through all installed packages, to warn of versions that are not the ones asked for: ours are
    read from what is installed. A network of the user's own comes with its modules, in `code`, which MLflow puts on the
    path when it loads the version.
    """
    model = folder / "model"
    (model / "artifacts").mkdir(parents=True)
    _save_weights(payload, model / WEIGHTS_FILE)
    (model / ARCHITECTURE_FILE).write_text(json.dumps(dict(payload.architecture), indent=1))
    shutil.copyfile(Path(__file__).parent.parent / _CODE, model / _CODE)
    code = users_code(payload.architecture)
    for name, file in code.files.items():
        copy = model / _CODE_FOLDER / Path(*name.split("."))
        copy = copy / "__init__.py" if file.stem == "__init__" else copy.with_suffix(file.suffix)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    for name, text in _environment(code.packages).items():
        (model / name).write_text(text, "utf-8")
    _write_description(payload.architecture, model, model_id=model_id, run_id=run_id)
    return model


def users_code(architecture: Mapping[str, Any]) -> Code:
    """Return the user's own files that a network needs, by module name, and the packages that they import."""
    use = str(architecture["network"]["use"])
    module, colon, _ = use.partition(":")
    if not colon:
        return Code({}, _installed_with(use))
    code = code_of_module(module)
    return Code({name: file for name, file in code.files.items() if is_users_file(file)}, code.packages)


def _installed_with(use: str) -> frozenset[str]:
    """Return the distribution that brings a network by its short name, if it is somebody else's."""
    point = catalog.point("networks", use)
    if point is None or point.dist is None or not catalog.is_third_party("networks", use):
        return frozenset()
    return frozenset([str(point.dist.name)])


def _save_weights(payload: VersionPayload, path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    plain = torch.contiguous_format
    weights = {name: value.detach().cpu().clone(memory_format=plain) for name, value in payload.weights.items()}
    save_file(weights, path)


def _write_description(architecture: Mapping[str, Any], model: Path, *, model_id: str, run_id: str) -> None:
    """Write `MLmodel`, by which MLflow knows a model."""
    import mlflow.pyfunc
    from mlflow.models import Model
    from mlflow.pyfunc.loaders import code_model

    described = Model(model_id=model_id, run_id=run_id, signature=_signature(architecture))
    mlflow.pyfunc.add_to_model(
        described,
        loader_module=code_model.__name__,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
        model_code_path=_CODE,
        streamable=False,
        code=_CODE_FOLDER if (model / _CODE_FOLDER).exists() else None,
        artifacts={Path(path).stem: {"path": path, "uri": path} for path in (ARCHITECTURE_FILE, WEIGHTS_FILE)},
    )
    described.model_size_bytes = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    described.save(str(model / "MLmodel"))


@cache
def _environment(packages: frozenset[str]) -> dict[str, str]:
    """Return the files that say what a model is loaded with, `packages` too. What is JSON is YAML, too."""
    python = platform.python_version()
    needed = [f"{name}=={version(name)}" for name in _NEEDED]
    others = {name for package in packages for name in distributions_of(package)} - {*_NEEDED}
    needed += [f"{name}{_pinned(name, '==')}" for name in sorted(others)]
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", f"pip{_pinned('pip', '<=')}", {"pip": needed}],
    }
    built = [f"{name}{_pinned(name, '==')}" for name in ("pip", "setuptools", "wheel")]
    virtual = {"python": python, "build_dependencies": built, "dependencies": ["-r requirements.txt"]}
    return {
        "requirements.txt": "\n".join(needed),
        "conda.yaml": json.dumps(conda, indent=1),
        "python_env.yaml": json.dumps(virtual, indent=1),
    }


def _pinned(name: str, relation: str) -> str:
    try:
        return f"{relation}{version(name)}"
    except PackageNotFoundError:
        return ""


def _signature(architecture: Mapping[str, Any]) -> Any:
    """Say what comes out. MLflow would enforce one type of what goes in, and images are of two (`ServedModel`)."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    return ModelSignature(outputs=Schema([TensorSpec(np.dtype("float32"), (-1, architecture["classes"]))]))
