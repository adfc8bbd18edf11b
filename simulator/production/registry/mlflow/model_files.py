"""Which files of somebody's MLflow model hold weights that can be read, by its `MLmodel`; no file of it is executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, final

import yaml

#: how an ebbdoor version, and any model that is to be read like one, calls what rebuilds its network
ARCHITECTURE: Final = "architecture.json"
_WEIGHTS: Final = ".safetensors"
_PICKLE, _EXPORTED = "model.pth", "model.pt2"
_ADVICE: Final = (
    "log its weights as an artifact NAME.safetensors, with an architecture.json beside it (docs/defenses.md)"
)
#: `torch.export.load` unpickles what a pt2 archive says is pickled, and what it returns has no modules to look into
_NO_EXPORTED: Final = (
    "its network is stored as pt2 (MLflow's default format), which is not read: torch cannot load it without "
    f"unpickling; {_ADVICE}, or log it with serialization_format='pickle' and, if you trust who wrote it, say "
    "--allow-pickle and --architecture FILE"
)


@final
@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Paths within a model, empty for none. Either `refusal` says why nothing can be read, or there are weights.

    Those are in `weights` (safetensors) or, where pickles are allowed, in `pickle`; `code` is a folder of modules.
    """

    weights: str = ""
    architecture: str = ""
    pickle: str = ""
    code: str = ""
    refusal: str = ""


def files_of(text: str, *, pickles: bool, has: Callable[[str], bool] = lambda path: False) -> ModelFiles:
    """Return which files of a model to read, by the `text` of its `MLmodel`.

    `has` says whether the model has a file: `MLmodel` does not tell in which of its formats MLflow stored a network.
    """
    try:
        flavors = yaml.safe_load(text)["flavors"]
        function = dict(flavors.get("python_function") or {})
        torch = dict(flavors.get("pytorch") or {})
        paths = _artifacts(function)
        code = str(torch.get("code") or function.get("code") or "")
        data = str(torch.get("model_data", ""))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return ModelFiles(refusal="its MLmodel file cannot be read")
    weights = [path for path in paths if path.endswith(_WEIGHTS)]
    described = [path for path in paths if PurePosixPath(path).name == ARCHITECTURE]
    if len(weights) == 1 and len(described) <= 1:
        found = ModelFiles(weights[0], described[0] if described else "", code=code)
    elif weights:
        found = ModelFiles(refusal=f"it has {len(weights)} files of weights ({_WEIGHTS}), and one is expected")
    else:
        found = _without_weights(sorted(map(str, flavors)), data, code, pickles=pickles, has=has)
    parts = (found.weights, found.architecture, found.pickle, found.code)
    return found if all(map(_is_within, parts)) else ModelFiles(refusal="its MLmodel names a file outside of it")


def _artifacts(function: Mapping[str, Any]) -> list[str]:
    return [str(artifact["path"]) for artifact in dict(function.get("artifacts") or {}).values()]


def _without_weights(
    flavors: list[str], data: str, code: str, *, pickles: bool, has: Callable[[str], bool]
) -> ModelFiles:
    """Return the pickle of a model of MLflow's torch flavor, where that may be read."""
    if not data:
        return ModelFiles(refusal=f"it has no weights to read without executing it ({', '.join(flavors)}); {_ADVICE}")
    if _is_within(data) and has(f"{data}/{_EXPORTED}"):
        return ModelFiles(refusal=_NO_EXPORTED)
    if pickles:
        return ModelFiles(pickle=f"{data}/{_PICKLE}", code=code)
    return ModelFiles(
        refusal=f"its network is stored whole, as a pickle, which runs code when it is read; {_ADVICE}, or, if you "
        "trust who wrote it, say --allow-pickle and --architecture FILE"
    )


def _is_within(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return not path or not (path.startswith("/") or ".." in parts or "://" in path or "\\" in path)
