"""Any classifier of torchvision by its name, untrained. torchvision is imported only when one is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

__all__ = ["build", "names"]

#: Both return extra logits in training mode unless told not to.
_WITH_AUXILIARY_LOGITS = {"googlenet", "inception_v3"}


def names() -> tuple[str, ...]:
    """Return the names of torchvision's image classifiers."""
    import torchvision

    return tuple(torchvision.models.list_models(module=torchvision.models))


def build(name: str, *, channels: int, classes: int, options: Mapping[str, Any] | None = None) -> Any:
    """Return the classifier `name` with random weights and `classes` outputs; `options` go to its own function.

    With `channels` other than 3 the first convolution is replaced by one like it. Raises `ValueError` for options that
    would load weights or contradict `classes`.
    """
    import torchvision

    given = dict(options or {})
    for option in ("weights", "progress", "num_classes"):
        if option in given:
            raise ValueError(
                f"expected no option '{option}', got one; classes come from the source, and trained weights from "
                "a checkpoint (base: {from: PATH})"
            )
    if name in _WITH_AUXILIARY_LOGITS:
        given = {"aux_logits": False, "init_weights": True} | given
    model = torchvision.models.get_model(name, weights=None, num_classes=classes, **given)
    if channels != 3:
        _replace_first_convolution(model, channels)
    return model


def _replace_first_convolution(model: nn.Module, channels: int) -> None:
    name, old = next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    parent, _, attribute = name.rpartition(".")
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    setattr(model.get_submodule(parent), attribute, new)
