"""The channels of a network: which BatchNorm reads which convolution, in the order of execution, and silencing them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from defenses.base import Context


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution, by its name in the model, and the BatchNorm that reads its output, if one does."""

    name: str
    convolution: nn.Conv2d
    norm: nn.BatchNorm2d | None

    @property
    def channels(self) -> int:
        """How many channels it puts out."""
        return self.convolution.out_channels

    @property
    def last(self) -> nn.Module:
        """The module that gives the channels: the BatchNorm, or the convolution where there is none."""
        return self.norm or self.convolution

    @torch.no_grad()
    def silence(self, channels: Tensor) -> None:
        """Set these channels to 0 for every image: zero kernels, zero scale and shift of the BatchNorm."""
        for tensor in self._tensors():
            tensor[channels] = 0

    def saved(self) -> list[Tensor]:
        """Return copies of all that `silence` changes, for `restore`."""
        return [tensor.detach().clone() for tensor in self._tensors()]

    @torch.no_grad()
    def restore(self, saved: list[Tensor]) -> None:
        """Undo what was silenced since `saved` was taken."""
        for tensor, value in zip(self._tensors(), saved, strict=True):
            tensor.copy_(value)

    def _tensors(self) -> list[Tensor]:
        mine = [self.convolution.weight, self.convolution.bias]
        return [t for t in (*mine, *((self.norm.weight, self.norm.bias) if self.norm else ())) if t is not None]


def layers(context: Context) -> tuple[Layer, ...]:
    """Return the convolutions of the model in the order in which they are first executed.

    Found by one blank image: networks register their modules in any order. A BatchNorm belongs to a convolution when it
    is given the very tensor that the convolution returned.

    >>> from defenses.base import Rows
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 3, 1), nn.Flatten(), nn.Linear(12, 2))
    >>> rows = Rows(torch.zeros(0, 1, 2, 2), torch.zeros(0, dtype=torch.long))
    >>> context = Context(model.eval(), "4", 2, torch.device("cpu"), rows, torch.Generator())
    >>> [(layer.name, layer.channels, layer.norm is not None) for layer in layers(context)]
    [('0', 2, True), ('2', 3, False)]
    """
    rows = context.window if context.window is not None and not len(context.trusted) else context.trusted
    blank = rows.images.new_zeros(1, *rows.images.shape[1:])
    names = {module: name for name, module in context.model.named_modules()}
    found: dict[nn.Conv2d, nn.BatchNorm2d | None] = {}
    outputs: list[tuple[nn.Conv2d, Tensor]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            found.setdefault(module, None)
            outputs.append((module, output))
        elif isinstance(module, nn.BatchNorm2d):
            found.update((convolution, module) for convolution, given in outputs if given is inputs[0])

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [module.register_forward_hook(note) for module in context.model.modules() if isinstance(module, kinds)]
    try:
        context.logits(blank)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(Layer(names[convolution], convolution, norm) for convolution, norm in found.items())


@torch.no_grad()
def mean_activation(context: Context, layer: Layer) -> Tensor:
    """Return the mean output (channels,) of `layer`, clamped at 0, over trusted images and positions."""
    total = torch.zeros(layer.channels, device=context.device)

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        total.add_(output.clamp(min=0).mean((2, 3)).sum(0))

    hook = layer.last.register_forward_hook(add)
    try:
        context.logits(context.trusted.images, batch=250)
    finally:
        hook.remove()
    return total / len(context.trusted)


@contextmanager
def one_by_one(model: nn.Module) -> Iterator[None]:
    """While it lasts, every layer of `model` is called for itself, also where a network fuses some of them.

    Fused layers may have no second derivative. A network leaves them apart while they bear hooks.
    """

    def nothing(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        return None

    hooks = [module.register_forward_hook(nothing) for module in model.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
