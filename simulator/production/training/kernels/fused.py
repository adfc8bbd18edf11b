"""BatchNorm, max-pool by two and ReLU fused, with gradients: the bits of torch's three layers in a fifth of the time.

Only on one thread, channels last, and where `selftest` has compared the bits; elsewhere call the layers themselves.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.production.training.kernels import ROWS
from simulator.production.training.torch_private import operations_are_watched

_LANES, _WIDEST = 8, 64  # channels: torch sums other numbers in another order, and is fast itself above


def can_fuse(norm: nn.BatchNorm2d, maps: Tensor) -> bool:
    """Whether `fused_block` can take `norm` and `maps`; these may be anything that a network passes on."""
    return (
        type(maps) is Tensor
        and not operations_are_watched()
        and _has_fitting_maps(maps)
        and _has_fitting_norm(norm, maps)
        and torch.get_num_threads() == 1  # with several, torch sums in another order
    )


def fused_block(norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
    """Return ReLU of the maxima of every 2 x 2 pixels of `norm(maps)`; only where `can_fuse` says so.

    `maps` are float32 (N, C, H, W), the result (N, C, H // 2, W // 2), both channels last. In training mode the running
    statistics of `norm` are updated as `norm` itself does it.
    """
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    if _needs_gradients(norm, maps):
        found: Tensor = _FusedBlock.apply(maps, norm.weight, norm.bias, norm)
        return found
    return _forward(maps, _rows(norm, maps))


def _has_fitting_maps(maps: Tensor) -> bool:
    if maps.device.type != "cpu" or maps.dtype != torch.float32 or maps.dim() != 4:
        return False
    count, channels, height, width = maps.shape
    return (
        channels in range(_LANES, _WIDEST + 1, _LANES)
        and min(count, height // 2, width // 2) > 0
        and maps.is_contiguous(memory_format=torch.channels_last)
    )


def _has_fitting_norm(norm: nn.BatchNorm2d, maps: Tensor) -> bool:
    if not norm.affine or norm.momentum is None or norm.running_mean is None or norm.num_features != maps.shape[1]:
        return False
    if not norm.training and _needs_gradients(norm, maps):
        return False  # gradients through running statistics have no kernel
    return all(
        type(value) in (Tensor, nn.Parameter)
        and value.shape == maps.shape[1:2]
        and value.is_contiguous()
        and (value.dtype, value.device) == (maps.dtype, maps.device)
        for value in _values(norm)
    )


def _needs_gradients(norm: nn.BatchNorm2d, maps: Tensor) -> bool:
    asked = maps.requires_grad or norm.weight.requires_grad or norm.bias.requires_grad
    return asked and torch.is_grad_enabled()


def _values(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.weight, norm.bias, norm.running_mean, norm.running_var


@final
class _FusedBlock(torch.autograd.Function):
    """Gradients come from a kernel too, unless they are to be differentiated again: then from torch's layers."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        rows = _rows(norm, maps)
        ctx.save_for_backward(maps, weight, bias, rows)
        ctx.epsilon = norm.eps
        return _forward(maps, rows)

    @staticmethod
    def backward(ctx: Any, *arrived: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, bias, rows = ctx.saved_tensors
        if torch.is_grad_enabled() or not _has_storage(arrived[0]):
            with torch.enable_grad():
                return (*_by_layers((maps, weight, bias), ctx.epsilon, arrived[0]), None)
        return (*_backward(maps, weight, rows, arrived[0]), None)


def _has_storage(values: Tensor) -> bool:
    """Whether `values` have memory of their own; a batch of gradients under `vmap` has none."""
    try:
        values.data_ptr()
    except RuntimeError:
        return False
    return True


def _by_layers(inputs: tuple[Tensor, Tensor, Tensor], epsilon: float, arrived: Tensor) -> tuple[Tensor | None, ...]:
    maps, weight, bias = inputs
    normalised = functional.batch_norm(maps, None, None, weight, bias, training=True, eps=epsilon)
    outputs = functional.relu(functional.max_pool2d(normalised, 2))
    asked = [value for value in inputs if value.requires_grad]
    found = iter(torch.autograd.grad(outputs, asked, arrived, create_graph=True))
    return tuple(next(found) if value.requires_grad else None for value in inputs)


def _rows(norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
    """Return `ROWS`, float32 (4, C): in training mode from `maps`, else from the running statistics."""
    values, rows = _values(norm), maps.new_empty(len(ROWS), maps.shape[1])
    inputs = *(value.data_ptr() for value in values), norm.eps
    if not norm.training:
        _kernels(maps).running_statistics(*inputs, rows.data_ptr())
        return rows
    pixels = maps.numel() // maps.shape[1]
    _kernels(maps).batch_statistics(*inputs, norm.momentum, maps.data_ptr(), pixels, rows.data_ptr())
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
    from simulator.production.training.kernels.compile import compiled  # imports LLVM, so only where it is needed

    return compiled(maps.shape[1])
