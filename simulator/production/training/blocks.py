"""The block that our networks are made of.

The first step of our networks: images in [0, 1], as everything outside a network has them, become centred.

Max-pooling by two: the same numbers as torch's, sooner where nothing is learned from them.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from simulator.production.training.kernels.fused import fits, halved
from simulator.production.training.kernels.selftest import trusted
from simulator.production.training.torch_private import is_hooked

__all__ = ["Centred", "HalvingBlock", "HalvingMaxPool"]


@final
class HalvingMaxPool(nn.MaxPool2d):
    """The maximum of every 2 x 2 pixels; a last odd row or column is left out, as in `nn.MaxPool2d(2)`.

    torch writes down where each maximum stood, for the backward pass alone. Without one, on the CPU, two maxima of
    neighbours give the same in a quarter of the time (8 channels of 28 x 28 pixels: 0.17 ms against 0.66 for 128).
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
    """Convolution, BatchNorm, max-pool by two, ReLU: the last three at once where that gives the same bits.

    Layers can be replaced and hooked into, as in any `nn.Sequential`: then each is called by itself.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, padding: tuple[int, int] = (1, 1)
    ) -> None:
        # ReLU after the pool gives the same values as before it, on a quarter of the pixels. BatchNorm has the bias.
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), HalvingMaxPool(), nn.ReLU())

    def __getitem__(self, index: int | slice) -> nn.Module:  # type: ignore[override]
        """Return a layer, or several as an `nn.Sequential`, for a part of a block is none."""
        layers = list(self)[index]
        return layers if isinstance(layers, nn.Module) else nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        first, *others = self
        maps: Tensor = first(images)
        norm = others[0] if _untouched(others) else None
        if isinstance(norm, nn.BatchNorm2d) and fits(norm, maps) and trusted(norm.num_features):
            return halved(norm, maps)
        for layer in others:
            maps = layer(maps)
        return maps


def _untouched(layers: list[nn.Module]) -> bool:
    """Whether nobody has put another layer there, or asked to be called when one is."""
    kinds = [type(layer) for layer in layers]
    return kinds == [nn.BatchNorm2d, HalvingMaxPool, nn.ReLU] and not any(map(is_hooked, layers))


@final
class Centred(nn.Module):
    """Maps [0, 1] to [-1, 1], as the field normalises its inputs.

    Uncentred, a black border feeds a convolution nothing; docs/decisions/0004 has what that does to a corner trigger.
    """

    def forward(self, images: Tensor) -> Tensor:
        return images * 2 - 1
