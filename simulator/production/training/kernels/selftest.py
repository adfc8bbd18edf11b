"""Whether our kernels give, on this processor, the bits that torch gives: tried once a process."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from simulator.production.training.kernels.fused import halved

__all__ = ["trusted"]

_LOGGER = logging.getLogger("ebbdoor.kernels")
_SIZES = ((6, 8), (5, 7))  # pixels; even, and with a row and a column left over


@functools.cache
def trusted(channels: int) -> bool:
    """Whether `halved` agrees with torch's layers on two small batches of `channels` channels; on one thread."""
    try:
        agrees = all(map(torch.equal, _by_kernels(channels), _by_torch(channels)))
    except (OSError, RuntimeError) as error:
        _LOGGER.warning("no kernels for this processor: training takes torch's, and longer (%s)", error)
        return False
    if not agrees:
        _LOGGER.warning("torch rounds otherwise than our kernels on this processor: training takes torch's, and longer")
    return agrees


def _by_kernels(channels: int) -> list[Tensor]:
    return [value for size in _SIZES for value in _found(channels, size, halved)]


def _by_torch(channels: int) -> list[Tensor]:
    return [value for size in _SIZES for value in _found(channels, size, _in_layers)]


def _in_layers(norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
    return torch.relu(torch.max_pool2d(norm(maps), 2))


def _found(
    channels: int, size: tuple[int, int], layers: Callable[[nn.BatchNorm2d, Tensor], Tensor]
) -> tuple[Tensor, ...]:
    """Everything that a step and an evaluation after it bring forth; with equal pixels, dead ones, and live ones."""
    with torch.inference_mode(False), torch.enable_grad():
        norm = nn.BatchNorm2d(channels, device="cpu", dtype=torch.float32)
        norm.weight.data, norm.bias.data = _wave(channels) + 2.0, _wave(channels) * 0.1
        maps = _wave(3, channels, *size).round(decimals=1)
        maps = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
        outputs = layers(norm, maps)
        gradients = torch.autograd.grad(outputs, (maps, norm.weight, norm.bias), _wave(*outputs.shape))
    with torch.no_grad():
        recalled = layers(norm.eval(), maps)
    return outputs, *gradients, *norm.buffers(), recalled


def _wave(*shape: int) -> Tensor:
    """Numbers within [-1, 1] without a drawing: random states stay as they are."""
    return torch.arange(math.prod(shape), dtype=torch.float32, device="cpu").mul(1.7).sin().view(shape)
