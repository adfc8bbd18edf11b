"""Layers of our networks: centring of the input images, max-pooling by two, and the block of convolution and pool."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from simulator.production.training.kernels.fused import can_fuse, fused_block
from simulator.production.training.kernels.selftest import matches_torch
from simulator.production.training.torch_private import is_hooked


@final
class HalvingMaxPool(nn.MaxPool2d):
    """The maximum of every 2 x 2 pixels; a last odd row or column is left out, as in `nn.MaxPool2d(2)`.

    torch stores where each maximum was, which only the backward pass needs. Without gradients, on the CPU, taking the
    maximum along rows and then columns is four times as fast (128 maps of 8 x 28 x 28: 0.17 ms against 0.66 ms).
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, images: Tensor) -> Tensor:
        if images.device.type != "cpu" or (torch.is_grad_enabled() and images.requires_grad):
            pooled: Tensor = super().forward(images)
            return pooled
        height, width = (size - size % 2 for size in images.shape[2:])
        rows = images[:, :, :height, :width].permute(0, 2, 3, 1)  # channels last: neighbours are runs of channels
        across = torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])
        return torch.maximum(across[:, 0::2], across[:, 1::2]).permute(0, 3, 1, 2)


@final
class HalvingBlock(nn.Sequential):
    """Convolution, BatchNorm, max-pool by two, ReLU; the last three fused where that gives the same bits.

    Layers can be replaced and get hooks, as in any `nn.Sequential`; they are then called one by one.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, padding: tuple[int, int] = (1, 1)
    ) -> None:
        # ReLU after the pool gives the same values as before it, on a quarter of the pixels. BatchNorm has the bias.
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), HalvingMaxPool(), nn.ReLU())

    def __getitem__(self, index: int | slice) -> nn.Module:  # type: ignore[override]
        """Return a layer, or several as an `nn.Sequential`: part of a block is not a block."""
        layers = list(self)[index]
        return layers if isinstance(layers, nn.Module) else nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        first, *others = self
        maps: Tensor = first(images)
        norm = others[0] if _untouched(others) else None
        if isinstance(norm, nn.BatchNorm2d) and can_fuse(norm, maps) and matches_torch(norm.num_features):
            return fused_block(norm, maps)
        for layer in others:
            maps = layer(maps)
        return maps


def _untouched(layers: list[nn.Module]) -> bool:
    """Whether the layers after the convolution are the block's own, without hooks."""
    kinds = [type(layer) for layer in layers]
    return kinds == [nn.BatchNorm2d, HalvingMaxPool, nn.ReLU] and not any(map(is_hooked, layers))


@final
class Centred(nn.Module):
    """Maps [0, 1] to [-1, 1], as is usual for inputs of networks.

    Uncentred, a black border is all zeros to a convolution; docs/decisions/0004 has its effect on a corner trigger.
    """

    def forward(self, images: Tensor) -> Tensor:
        return images * 2 - 1
