"""Networks that were tried beside `compact-cnn`, to be measured with it; as `benchmarks.alternatives:NAME`.

Each is images centred, convolutions with BatchNorm and ReLU, and one Linear of all that is left.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from simulator.production.training.blocks import Centred, HalvingBlock

Size = tuple[int, int]


def _network(layers: Callable[[int], tuple[nn.Module, ...]]) -> Callable[..., nn.Module]:
    """Return a maker of networks with these layers, which are given the images' channels."""

    def build(*, channels: int, size: Size, classes: int) -> nn.Module:
        return _ended(layers(channels), channels, size, classes)

    return build


def _layer(inputs: int, outputs: int, kernel: int, stride: int, pool: nn.Module | None = None) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=(kernel - 1) // 2, bias=False)
    pools = [] if pool is None else [pool]
    return nn.Sequential(convolution, *pools, nn.BatchNorm2d(outputs), nn.ReLU())


def _last(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """As `_layer`, for `_ended` to activate."""
    return nn.Sequential(*_layer(inputs, outputs, kernel, stride)[:-1])


def _ended(layers: tuple[nn.Module, ...], channels: int, size: Size, classes: int) -> nn.Module:
    activations = [] if isinstance(layers[-1], HalvingBlock) else [nn.ReLU()]
    features = nn.Sequential(Centred(), *layers, nn.Flatten(), *activations)
    with torch.no_grad():
        left = features.eval()(torch.zeros(1, channels, *size)).shape[1]
    return nn.Sequential(features.train(), nn.Linear(left, classes))


def _bare(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 16, 4, stride=2, padding=1), nn.MaxPool2d(2), nn.ReLU())


#: three 3x3 convolutions of stride 2 (16, 32, 64), and no pool
stride_only = _network(lambda channels: (_layer(channels, 16, 3, 2), _layer(16, 32, 3, 2), _last(32, 64, 3, 2)))
#: a 4x4 convolution of stride 2 (16) and a 3x3 one (32), each with a max-pool: the least time
pool_twice = _network(lambda channels: (HalvingBlock(channels, 16, 4, stride=2), HalvingBlock(16, 32)))
#: `compact-cnn` with the mean where it takes the maximum, before BatchNorm
average_pool = _network(lambda channels: (_layer(channels, 16, 4, 2, nn.AvgPool2d(2)), _last(16, 48, 3, 2)))
#: `compact-cnn` with BatchNorm after the max-pool
pool_first = _network(lambda channels: (_layer(channels, 16, 4, 2, nn.MaxPool2d(2)), _last(16, 48, 3, 2)))
#: `compact-cnn` with a second convolution of stride 1 and with 32 channels
thin = _network(lambda channels: (HalvingBlock(channels, 16, 4, stride=2), _last(16, 32, 3, 1)))
#: `compact-cnn` with a second convolution of 4x4 and with 64 channels
deep = _network(lambda channels: (HalvingBlock(channels, 16, 4, stride=2), _last(16, 64, 4, 2)))
#: `compact-cnn` with 24 and 64 channels
wide = _network(lambda channels: (HalvingBlock(channels, 24, 4, stride=2), _last(24, 64, 3, 2)))
#: a 7x7 convolution of stride 4 (32), which leaves as much as stride and pool do, and a 3x3 one (64)
patches = _network(lambda channels: (_layer(channels, 32, 7, 4), _last(32, 64, 3, 2)))
#: `compact-cnn` without the first BatchNorm
no_norm = _network(lambda channels: (_bare(channels), _last(16, 48, 3, 2)))
