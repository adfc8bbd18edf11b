"""Layers and functions of a network for K members side by side; `stack` says how their values are laid out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.errors import EbbdoorError
from simulator.production.training.blocks import Centred, HalvingMaxPool


@final
class NotStackable(EbbdoorError):
    """Says why a network has to be trained alone."""


@final
@dataclass(frozen=True, slots=True)
class Members:
    """The number of members, and a layer's weights (K, ...) by name."""

    count: int
    weights: Mapping[str, Tensor]

    def flat(self, name: str) -> Tensor | None:
        """Return a weight as (K * its first size, ...); None when the layer has none."""
        return self.weights[name].flatten(0, 1) if name in self.weights else None


def _convolution(members: Members, module: nn.Conv2d, maps: Tensor) -> Tensor:
    weight = members.flat("weight")
    assert weight is not None
    groups = members.count * module.groups
    return functional.conv2d(maps, weight, members.flat("bias"), module.stride, module.padding, module.dilation, groups)


def _batch_norm(members: Members, module: nn.BatchNorm2d, maps: Tensor) -> Tensor:
    training = module.training or not module.track_running_stats
    if module.training and module.track_running_stats:
        members.weights["num_batches_tracked"].add_(1)
    return functional.batch_norm(
        maps,
        members.flat("running_mean"),
        members.flat("running_var"),
        members.flat("weight"),
        members.flat("bias"),
        training,
        module.momentum if module.momentum is not None else 0.0,
        module.eps,
    )


def _linear(members: Members, module: nn.Linear, features: Tensor) -> Tensor:
    weight, bias = members.weights["weight"], members.weights.get("bias")
    mine = features.transpose(0, 1)
    if bias is None:
        return torch.bmm(mine, weight.transpose(1, 2)).transpose(0, 1)
    return torch.baddbmm(bias[:, None], mine, weight.transpose(1, 2)).transpose(0, 1)


def _same(members: Members, module: nn.Module, values: Tensor) -> Tensor:
    """Apply a layer that treats every channel separately and alike."""
    found: Tensor = module(values)
    return found


def _flatten(members: int, values: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    if start_dim != 1 or end_dim not in (-1, 3) or values.dim() != 4:
        raise NotStackable("it flattens other axes than those of an image")
    return values.reshape(len(values), members, -1)


def _mean(members: int, values: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    if values.dim() != 4 or not isinstance(dim, Sequence) or [axis % 4 for axis in dim] != [2, 3] or keepdim:
        raise NotStackable("it takes a mean over other axes than those of an image")
    return values.mean((2, 3)).view(len(values), members, -1)


def _pad(members: int, values: Tensor, pad: tuple[int, ...], mode: str = "constant", value: float | None = None) -> Any:
    if len(pad) <= 4:
        return functional.pad(values, pad, mode, value)
    alone = values.reshape(len(values) * members, -1, *values.shape[2:])
    padded = functional.pad(alone, pad, mode, value)
    return padded.reshape(len(values), -1, *padded.shape[2:])


def _part(members: int, values: Tensor, index: Any) -> Tensor:
    if not (isinstance(index, tuple) and index[:2] == (slice(None), slice(None))):
        raise NotStackable("it takes part of its channels")
    found: Tensor = values[index]
    return found


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the stacked form of an element-wise function."""

    def computed(members: int, *arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    return computed


MODULES: Mapping[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _batch_norm,
    nn.Linear: _linear,
    **dict.fromkeys(
        (Centred, HalvingMaxPool, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.ReLU, nn.Identity), _same
    ),
}

FUNCTIONS: Mapping[Any, Callable[..., Any]] = {
    operator.add: _each(operator.add),
    operator.iadd: _each(operator.add),
    torch.add: _each(torch.add),
    torch.relu: _each(torch.relu),
    functional.relu: _each(functional.relu),
    functional.pad: _pad,
    torch.flatten: _flatten,
    operator.getitem: _part,
}

METHODS: Mapping[Any, Callable[..., Any]] = {"flatten": _flatten, "mean": _mean, "relu": _each(torch.relu)}
