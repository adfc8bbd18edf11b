"""Models with other weights: of a relative, or between two of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["NO_ANCESTOR", "NO_CONTROL", "OTHER_NETWORK", "between", "fits", "with_weights"]

NO_ANCESTOR = "this version has no poisoned ancestor"
NO_CONTROL = "there is no paced twin to compare with"
OTHER_NETWORK = "the two models do not have the same weights"


def fits(model: nn.Module, weights: Mapping[str, Tensor]) -> bool:
    """Whether `weights` name all parameters and buffers of `model` and no other, in their shapes."""
    own = model.state_dict()
    return own.keys() == weights.keys() and all(own[name].shape == weights[name].shape for name in own)


def with_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of `model` with `weights`, which fit it, on its device and in its memory layout."""
    copied = copy.deepcopy(model)
    copied.load_state_dict(dict(weights))
    return copied.eval()


def between(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return `start` + `share` x (`end` - `start`), running statistics too; whole numbers stay those of `start`."""
    return {
        name: torch.lerp(value, end[name].to(value), share) if value.is_floating_point() else value
        for name, value in start.items()
    }
