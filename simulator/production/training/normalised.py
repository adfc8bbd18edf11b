"""A network for images as its owner normalised them: the platform's images are in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from simulator.errors import PluginError
from simulator.production.training.blocks import Centred
from simulator.scenario.sentences import shown

_KEYS = ("mean", "std")


@final
class Normalised(nn.Module):
    """`network` after (images - mean) / std, channel by channel; mean and std are no weights, and are not trained."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def normalised(name: str, network: nn.Module, channels: int, given: Any) -> nn.Module:
    """Return `network`, named `name` in the scenario, fed as `given` says: `{mean: [...], std: [...]}`, or None.

    Raises `PluginError` unless there is a finite number for each channel, every std above 0, and when the network
    centres its images itself.
    """
    if given is None:
        return network
    if not isinstance(given, dict) or set(given) != set(_KEYS):
        raise PluginError(f"{_owner(name)} to be {{mean: [...], std: [...]}}, got {shown(given)}; give both")
    mean, std = (_numbers(name, key, given[key], channels) for key in _KEYS)
    if min(std) <= 0:
        raise PluginError(f"{_owner(name)} to have a std above 0, got {min(std):g}; correct it")
    if any(isinstance(module, Centred) for module in network.modules()):
        raise PluginError(
            f"expected network '{name}' to leave its images as they are, got one that centres them itself; "
            "leave normalize out"
        )
    return Normalised(network, mean, std).eval()


def _numbers(name: str, key: str, given: Any, channels: int) -> list[float]:
    values = given if isinstance(given, list) else [given] * channels
    plain = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not plain or len(values) != channels or not all(math.isfinite(value) for value in values):
        raise PluginError(
            f"{_owner(name)} to have a {key} of {channels} finite numbers, one a channel, got {shown(given)}; "
            "correct it"
        )
    return [float(value) for value in values]


def _owner(name: str) -> str:
    return f"expected normalize of network '{name}'"
