"""Outputs of the convolutions of a model, and how much the trigger changes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from simulator.production.training.device import laid_out_for
from simulator.production.training.evaluate import evaluating

_ROWS = 125


def activation_change(model: nn.Module, unstamped: Tensor, stamped: Tensor) -> dict[str, Tensor]:
    """Return the trigger activation change float64 (channels,) of each convolution that is used, by its name.

    The Euclidean norm, over a channel's pixels, of the difference that the stamp makes, averaged over the images.
    """
    total: dict[str, Tensor] = {}
    with _outputs(model) as found:
        for plain, marked in zip(unstamped.split(_ROWS), stamped.split(_ROWS), strict=True):
            _forward(model, plain)
            before = dict(found)
            _forward(model, marked)
            for name, values in found.items():
                change = (values - before[name]).flatten(2).double().norm(dim=2).sum(0)
                total[name] = total.get(name, 0) + change
    return {name: value / len(stamped) for name, value in total.items()}


def activations(model: nn.Module, images: Tensor, channels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the outputs float32 (N, channels, pixels) of the `channels` of convolutions, in the order given."""
    parts: dict[str, list[Tensor]] = {name: [] for name in channels}
    with _outputs(model) as found:
        for part in images.split(_ROWS):
            _forward(model, part)
            for name, taken in channels.items():
                parts[name].append(found[name][:, taken].flatten(2).float())
    return {name: torch.cat(values) for name, values in parts.items()}


def _forward(model: nn.Module, images: Tensor) -> None:
    with evaluating(model), torch.no_grad():
        model(laid_out_for(model, images))


@contextmanager
def _outputs(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Yield a dictionary that each forward pass fills with the outputs of the convolutions, by their names."""
    found: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        found[name] = output.clone()  # later layers may change it in place

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d):
                handle = module.register_forward_hook(partial(keep, name))
                hooks.callback(handle.remove)
        yield found
