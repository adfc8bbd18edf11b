"""Whether the kernels give the same bits as torch on this processor: compared once in a process."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from simulator.production.training.kernels.fused import fused_block

_LOGGER = logging.getLogger("ebbdoor.kernels")
_SIZES = ((6, 8), (5, 7))  # pixels: even, and with a row and a column outside all windows


@functools.cache
def matches_torch(channels: int) -> bool:
    """Whether `fused_block` equals torch's layers on two small batches of `channels` channels; on one thread."""
    try:
        ours, torchs = (
            [value for size in _SIZES for value in _outcome(channels, size, layers)]
            for layers in (fused_block, _in_layers)
        )
        agrees = all(map(torch.equal, ours, torchs))
    except (OSError, RuntimeError) as error:
        _LOGGER.warning("no kernels for this processor: training takes torch's, and longer (%s)", error)
        return False
    if not agrees:
        _LOGGER.warning("torch rounds otherwise than our kernels on this processor: training takes torch's, and longer")
    return agrees


def _in_layers(norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
    return torch.relu(torch.max_pool2d(norm(maps), 2))


def _outcome(
    channels: int, size: tuple[int, int], layers: Callable[[nn.BatchNorm2d, Tensor], Tensor]
) -> tuple[Tensor, ...]:
    """Return all results of a training step and an evaluation after it, with ties in windows and pixels below 0."""
    with torch.inference_mode(False), torch.enable_grad():
        norm = nn.BatchNorm2d(channels, device="cpu", dtype=torch.float32)
        norm.weight.data, norm.bias.data = _wave(channels) + 2.0, _wave(channels) * 0.1
        maps = _wave(3, channels, *size).round(decimals=1)
        maps = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
        outputs = layers(norm, maps)
        gradients = torch.autograd.grad(outputs, (maps, norm.weight, norm.bias), _wave(*outputs.shape))
    with torch.no_grad():
        evaluated = layers(norm.eval(), maps)
    return outputs, *gradients, *norm.buffers(), evaluated


def _wave(*shape: int) -> Tensor:
    """Return fixed numbers in [-1, 1]: random states stay as they are."""
    return torch.arange(math.prod(shape), dtype=torch.float32, device="cpu").mul(1.7).sin().view(shape)
