"""Checkpoints of the user's own: safetensors files, under the names that other tools give the same weights."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn, zeros_like

from simulator.errors import ScenarioError
from simulator.production.training.weights import load_into

#: what DataParallel, torch.compile and training frameworks put before every name
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.", "state_dict.", "student.", "classifier_model.")
#: what wrapping a part of a network puts into names
_INSIDE = ("_orig_mod.", "module.")
_COUNTER = "num_batches_tracked"


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of the safetensors file at `path`; `ScenarioError` says what to do when it is none."""
    file = Path(path)
    if file.suffix in (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".tar"):
        raise ScenarioError(
            f"expected the checkpoint to be a .safetensors file, got '{file}', which may be a pickle and is never "
            f"opened; convert it where you trust it: {conversion(file)}"
        )
    if not file.is_file():
        raise ScenarioError(f"expected a checkpoint file at '{file}', got none; check base.from")
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ScenarioError(
            f"expected '{file}' to be a safetensors file, got something else ({error}); write it with "
            "safetensors.torch.save_file"
        ) from error


def conversion(file: Path) -> str:
    """Return the command that converts a pickle, also one in which the weights are one entry of several."""
    # the paths are arguments: within the code a quote or a dollar sign in them would be read by shell or Python
    return (
        'python -c "import sys, torch; from safetensors.torch import save_file; '
        "c = torch.load(sys.argv[1], map_location='cpu', weights_only=True); "
        "c = next((c[k] for k in ('state_dict', 'model', 'net') if k in c), c); "
        'save_file({k: v.contiguous().clone() for k, v in c.items()}, sys.argv[2])" '
        f"{shlex.quote(str(file))} {shlex.quote(str(file.with_suffix('.safetensors')))}"
    )


def load_checkpoint(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy the weights of a checkpoint into `model`, as `load_into`, whatever its tool has put before their names.

    BatchNorm's counters of batches may be missing: they are 0. Floating-point weights may be of any precision.
    """
    own = model.state_dict()
    _expect_layout(own, weights)
    named = _renamed(own, weights)
    counters = {name: zeros_like(value) for name, value in own.items() if name.endswith(_COUNTER) and name not in named}
    load_into(model, {**named, **counters})


def _renamed(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `weights` under the names of which most are the model's."""
    candidates = [dict(weights)]
    for name in candidates:  # grows while a prefix is left
        for prefix in _PREFIXES:
            if name and all(key.startswith(prefix) for key in name):
                candidates.append({key.removeprefix(prefix): value for key, value in name.items()})
    candidates += [{_without(key): value for key, value in names.items()} for names in candidates]
    candidates += [
        {f"{prefix}{key}": value for key, value in names.items()} for names in candidates for prefix in _PREFIXES
    ]
    whole = [names for names in candidates if len(names) == len(weights)]  # no two became one
    return max(whole, key=lambda names: len(names.keys() & own.keys()))


def _without(key: str) -> str:
    for part in _INSIDE:
        key = key.removeprefix(part).replace(f".{part}", ".")
    return key


def _expect_layout(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Tell torchvision's ResNet-18 apart from ours, which has the centring of images in its first layer."""
    torchvisions = any(_without(key) in ("conv1.weight", "model.conv1.weight") for key in weights)
    if "conv1.1.weight" in own and torchvisions:
        raise ScenarioError(
            "expected the weights of our resnet18, which centres its images, got torchvision's own; use "
            "{use: torchvision-resnet18}, with normalize: {mean: [...], std: [...]} for what it was trained on"
        )
