"""The network with the most accuracy for its CPU seconds at 28 to 32 pixels; docs/performance.md has the front."""

from __future__ import annotations

import math
from typing import final

from torch import Tensor, nn

from simulator.production.training.centred import Centred

__all__ = ["CompactCnn", "compact_cnn"]


@final
class CompactCnn(nn.Module):
    """`features`: two 4x4 convolutions of stride 2 (16, 64) with BatchNorm and ReLU, a max-pool between; `classifier`.

    Images in [0, 1] are centred first. Every pixel is read, whatever the size: neither the windows nor the pool, which
    rounds up, leave out the last row or column of an odd number.
    """

    # Why it is fast on a CPU: it strides at once, so that few pixels are left for whatever follows; and no layer has
    # fewer than 16 channels, as vectors are 16 floats wide and narrower layers are computed float by float.
    def __init__(self, channels: int, size: tuple[int, int], classes: int) -> None:
        super().__init__()
        height, width = (math.ceil(side // 2 / 2) // 2 for side in size)
        self.centred = Centred()
        # BatchNorm after the pool: a quarter of the pixels. It has the bias.
        self.features = nn.Sequential(
            nn.Sequential(_halving(channels, 16), nn.MaxPool2d(2, ceil_mode=True), nn.BatchNorm2d(16), nn.ReLU()),
            nn.Sequential(_halving(16, 64), nn.BatchNorm2d(64), nn.ReLU()),
        )
        self.classifier = nn.Linear(64 * height * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(self.centred(images)).flatten(1))
        return logits


def _halving(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)


def compact_cnn(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """Return the small network for new studies: `standard-cnn`'s accuracy in half its time; from 8 x 8 pixels."""
    if min(size) < 8:
        raise ValueError(f"expected images to have at least 8 x 8 pixels, got {size[0]} x {size[1]}; scale them up")
    return CompactCnn(channels, size, classes)
