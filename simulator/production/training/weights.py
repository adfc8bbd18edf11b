"""Weights put into a model: read from a checkpoint file and checked by name, shape and value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from simulator.errors import ScenarioError


def load_into(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` into `model`, all or nothing: names and shapes must be exactly the model's, values finite.

    Raises `ScenarioError` naming the first tensor that does not fit; `model` is then unchanged.
    """
    own = model.state_dict()
    _check_names(set(own), set(weights))
    for name, value in weights.items():
        _check_tensor(name, value, own[name])
    model.load_state_dict(dict(weights))


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of the safetensors file at `path`; `ScenarioError` says what to do when it is none."""
    file = Path(path)
    if file.suffix in (".pt", ".pth", ".bin", ".ckpt", ".pkl"):
        raise ScenarioError(
            f"expected the checkpoint to be a .safetensors file, got '{file}', which may be a pickle and is never "
            "opened; convert it where you trust it: safetensors.torch.save_file(torch.load(PATH, weights_only=True), "
            "'model.safetensors')"
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


def _check_names(own: set[str], given: set[str]) -> None:
    for title, names in (("missing", own - given), ("unexpected", given - own)):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise ScenarioError(
                f"expected the weights to be those of the network, got {title} {shown}; "
                "use the network they were trained with"
            )


def _check_tensor(name: str, value: Tensor, own: Tensor) -> None:
    if value.shape != own.shape:
        raise ScenarioError(
            f"expected weight '{name}' to have shape {tuple(own.shape)}, got {tuple(value.shape)}; "
            "use the network, image size and classes it was trained with"
        )
    if value.is_floating_point() != own.is_floating_point():
        raise ScenarioError(f"expected weight '{name}' to be {own.dtype}, got {value.dtype}; convert it")
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise ScenarioError(f"expected weight '{name}' to be finite, got NaN or infinity; train it again")
