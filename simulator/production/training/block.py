"""The block that our networks are made of."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from simulator.production.training.kernels.halving import fits, halved
from simulator.production.training.kernels.trial import trusted
from simulator.production.training.pooling import HalvingMaxPool

__all__ = ["HalvingBlock"]


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
    return kinds == [nn.BatchNorm2d, HalvingMaxPool, nn.ReLU] and not any(map(_is_hooked, layers))


def _is_hooked(layer: nn.Module) -> bool:
    return bool(
        "forward" in vars(layer)
        or layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
        or _has_any_global_hook()
    )
