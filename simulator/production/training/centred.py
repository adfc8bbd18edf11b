"""The first step of our networks: images in [0, 1], as everything outside a network has them, become centred."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

__all__ = ["Centred"]


@final
class Centred(nn.Module):
    """Maps [0, 1] to [-1, 1], as the field normalises its inputs.

    Uncentred, a black border feeds a convolution nothing; docs/decisions/0004 has what that does to a corner trigger.
    """

    def forward(self, images: Tensor) -> Tensor:
        return images * 2 - 1
