"""Weights put into a model, checked by name, shape and value."""

from __future__ import annotations

from collections.abc import Mapping, Set

import torch
from torch import Tensor, nn

from simulator.errors import ScenarioError


def load_into(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` into `model`, all or nothing: names and shapes must be exactly the model's, values finite.

    Raises `ScenarioError` naming the first tensor that does not fit; `model` is then unchanged.
    """
    own = model.state_dict()
    _check_names(own, weights)
    for name, value in weights.items():
        _check_tensor(name, value, own[name])
    model.load_state_dict(dict(weights))


def _check_names(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    both = own.keys() & given.keys()
    found = {
        "missing": own.keys() - given.keys(),
        "unexpected": given.keys() - own.keys(),
        "of another shape": {name for name in both if own[name].shape != given[name].shape},
    }
    if not found["missing"] and not found["unexpected"]:
        return
    told = [f"{title} {_some(names)}" for title, names in found.items() if names]
    raise ScenarioError(
        f"expected the weights to be those of the network, got {', and '.join(told)}; "
        "use the network they were trained with"
    )


def _some(names: Set[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _check_tensor(name: str, value: Tensor, own: Tensor) -> None:
    if value.shape != own.shape:
        raise ScenarioError(
            f"expected weight '{name}' to have shape {tuple(own.shape)}, got {tuple(value.shape)}; "
            "use the network, image size and classes it was trained with"
        )
    if value.is_floating_point() != own.is_floating_point():
        raise ScenarioError(f"expected weight '{name}' to be {own.dtype}, got {value.dtype}; convert it")
    if value.is_floating_point() and not torch.isfinite(value.to(own.dtype)).all():  # as it will be used
        raise ScenarioError(f"expected weight '{name}' to be finite, got NaN or infinity; train it again")
