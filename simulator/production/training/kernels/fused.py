"""BatchNorm, max-pool by two and ReLU in one, with gradients: the bits of torch's three layers in a fifth of the time.

So it is on one thread, channels last, and where `trial` has seen it; else the layers themselves are to be called.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.production.training.kernels import ROWS
from simulator.production.training.torch_private import operations_are_watched

__all__ = ["fits", "halved"]

_LANES, _WIDEST = 8, 64  # torch sums other counts of channels otherwise; from here on its own kernels are quick


def fits(norm: nn.BatchNorm2d, maps: Tensor) -> bool:
    """Whether `halved` can take `norm` and `maps`, which may be anything that a network passes on."""
    return (
        type(maps) is Tensor
        and not operations_are_watched()
        and _is_plain(maps)
        and _is_usual(norm, maps)
        and torch.get_num_threads() == 1  # several sum in another order
    )


def halved(norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
    """Return ReLU of the maxima of every 2 x 2 pixels of `norm(maps)`; where it `fits`.

    `maps` are float32 (N, C, H, W), what is returned (N, C, H // 2, W // 2), both channels last. In training mode the
    running moments of `norm` are brought up to date as it does itself.
    """
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    if _learns(norm, maps):
        found: Tensor = _Halving.apply(maps, norm.weight, norm.bias, norm)
        return found
    return _forward(maps, _rows(norm, maps))


def _is_plain(maps: Tensor) -> bool:
    if maps.device.type != "cpu" or maps.dtype != torch.float32 or maps.dim() != 4:
        return False
    count, channels, height, width = maps.shape
    return (
        channels in range(_LANES, _WIDEST + 1, _LANES)
        and min(count, height // 2, width // 2) > 0
        and maps.is_contiguous(memory_format=torch.channels_last)
    )


def _is_usual(norm: nn.BatchNorm2d, maps: Tensor) -> bool:
    if not norm.affine or norm.momentum is None or norm.running_mean is None or norm.num_features != maps.shape[1]:
        return False
    if not norm.training and _learns(norm, maps):
        return False  # gradients through running moments
    return all(
        type(value) in (Tensor, nn.Parameter)
        and value.shape == maps.shape[1:2]
        and value.is_contiguous()
        and (value.dtype, value.device) == (maps.dtype, maps.device)
        for value in _values(norm)
    )


def _learns(norm: nn.BatchNorm2d, maps: Tensor) -> bool:
    asked = maps.requires_grad or norm.weight.requires_grad or norm.bias.requires_grad
    return asked and torch.is_grad_enabled()


def _values(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.weight, norm.bias, norm.running_mean, norm.running_var


@final
class _Halving(torch.autograd.Function):
    """The gradients too are a kernel's, unless gradients of them are asked for: then torch's layers are followed."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        rows = _rows(norm, maps)
        ctx.save_for_backward(maps, weight, bias, rows)
        ctx.epsilon = norm.eps
        return _forward(maps, rows)

    @staticmethod
    def backward(ctx: Any, *arrived: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, bias, rows = ctx.saved_tensors
        if torch.is_grad_enabled() or not _has_memory(arrived[0]):
            with torch.enable_grad():
                return (*_followed((maps, weight, bias), ctx.epsilon, arrived[0]), None)
        return (*_backward(maps, weight, rows, arrived[0]), None)


def _has_memory(values: Tensor) -> bool:
    """Whether `values` are numbers somewhere, not many rows of gradients that are followed at once."""
    try:
        values.data_ptr()
    except RuntimeError:
        return False
    return True


def _followed(inputs: tuple[Tensor, Tensor, Tensor], epsilon: float, arrived: Tensor) -> tuple[Tensor | None, ...]:
    maps, weight, bias = inputs
    normalised = functional.batch_norm(maps, None, None, weight, bias, training=True, eps=epsilon)
    outputs = functional.relu(functional.max_pool2d(normalised, 2))
    asked = [value for value in inputs if value.requires_grad]
    found = iter(torch.autograd.grad(outputs, asked, arrived, create_graph=True))
    return tuple(next(found) if value.requires_grad else None for value in inputs)


def _rows(norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
    """`ROWS`, float32 (4, C): in training mode of `maps`, else of the running moments."""
    values, rows = _values(norm), maps.new_empty(len(ROWS), maps.shape[1])
    inputs = *(value.data_ptr() for value in values), norm.eps
    if not norm.training:
        _kernels(maps).recall(*inputs, rows.data_ptr())
        return rows
    pixels = maps.numel() // maps.shape[1]
    _kernels(maps).learn(*inputs, norm.momentum, maps.data_ptr(), pixels, rows.data_ptr())
    return rows


def _forward(maps: Tensor, rows: Tensor) -> Tensor:
    count, channels, height, width = maps.shape
    outputs = maps.new_empty((count, height // 2, width // 2, channels)).permute(0, 3, 1, 2)
    _kernels(maps).forward(maps.data_ptr(), rows.data_ptr(), count, height, width, outputs.data_ptr())
    return outputs


def _backward(maps: Tensor, weight: Tensor, rows: Tensor, arrived: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    count, _, height, width = maps.shape
    gradients = arrived.contiguous(memory_format=torch.channels_last)
    found = torch.empty_like(maps), torch.empty_like(weight), torch.empty_like(weight)
    inputs = maps.data_ptr(), rows.data_ptr(), count, height, width, gradients.data_ptr(), weight.data_ptr()
    _kernels(maps).backward(*inputs, *(value.data_ptr() for value in found))
    return found


def _kernels(maps: Tensor) -> Any:
    from simulator.production.training.kernels.compile import compiled  # LLVM: only where it is called

    return compiled(maps.shape[1])
