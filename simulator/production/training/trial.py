"""A network is tried before anything is trained: whether it takes the images, and gives logits to learn from."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from simulator.errors import PluginError, text_of
from simulator.guard.place import line_of
from simulator.production.training.device import laid_out_for

#: images in training mode, where BatchNorm needs two, and in eval mode, where a batch may have any number
_TRAINING, _EVAL = (2,), (3, 1)


@final
@dataclass(frozen=True, slots=True)
class Facts:
    """What a source says about images: channels, (H, W), and how many classes there are."""

    channels: int
    size: tuple[int, int]
    classes: int

    @property
    def values(self) -> dict[str, Any]:
        """The facts by name, as a network function takes them."""
        return {"channels": self.channels, "size": self.size, "classes": self.classes}

    def images(self, model: nn.Module, count: int) -> Tensor:
        """Return `count` grey images, laid out as `model` is."""
        return laid_out_for(model, torch.full((count, self.channels, *self.size), 0.5))


def tried_out(name: str, model: nn.Module, facts: Facts) -> nn.Module:
    """Return `model` laid out channels_last, or contiguous if its code needs that; else raise `PluginError`.

    The first images that lazy layers see give them their sizes and their random weights.
    """
    if any(
        isinstance(value, UninitializedParameter | UninitializedBuffer)
        for value in (*model.parameters(), *model.buffers())
    ):
        _materialise(name, model, facts)
    channels_last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    if _misfit(name, channels_last, facts) is None:
        return channels_last
    misfit = _misfit(name, model, facts)
    if misfit is not None:
        raise PluginError(misfit)
    return model


def said(error: BaseException) -> str:
    """Return the first line of what third-party code raised, and where in the user's file."""
    return (text_of(error).strip().split("\n")[0] or type(error).__name__) + line_of(error)


def _materialise(name: str, model: nn.Module, facts: Facts) -> None:
    try:
        with torch.no_grad():
            model(torch.full((2, facts.channels, *facts.size), 0.5))
    except (Exception, SystemExit) as error:  # third-party code may raise anything
        raise PluginError(_untaken(name, facts, error)) from error


def _misfit(name: str, model: nn.Module, facts: Facts) -> str | None:
    """Run grey images through a copy of `model`, in training and in eval mode; return what is wrong with it."""
    learns = any(value.requires_grad for value in model.parameters())
    for training, count in [*((True, count) for count in _TRAINING), *((False, count) for count in _EVAL)]:
        try:
            with torch.set_grad_enabled(training):
                found = copy.deepcopy(model).train(training)(facts.images(model, count))
        except (Exception, SystemExit) as error:  # noqa: BLE001  third-party code may raise anything
            return _untaken(name, facts, error)
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        if shape != (count, facts.classes):
            return (
                f"expected network '{name}' to return logits of shape {(count, facts.classes)} for {_images(count)}, "
                f"got {shape}; end it with one output a class"
            )
        if not found.is_floating_point():
            return f"expected network '{name}' to return logits in floating point, got {found.dtype}; return scores"
        if training and learns and not found.requires_grad:
            return (
                f"expected the logits of network '{name}' to depend on its weights, got none that can be learned "
                "from; let forward keep its gradients"
            )
    return None


def _untaken(name: str, facts: Facts, error: BaseException) -> str:
    own = "correct its layers, or " if line_of(error) else ""
    return (
        f"expected network '{name}' to take images of {(facts.channels, *facts.size)}, got {said(error)}; "
        f"{own}choose another network or larger images"
    )


def _images(count: int) -> str:
    return {1: "one image", 2: "two images", 3: "three images"}[count]
