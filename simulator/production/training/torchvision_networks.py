"""Any classifier of torchvision by its name, untrained. torchvision is imported only when one is asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

#: networks that return extra logits in training mode unless told not to
_WITH_AUXILIARY_LOGITS = {"googlenet", "inception_v3"}


#: options that torchvision reads although neither its function's nor its class's signature has them (MobileNetV3)
_UNDECLARED = {"dilated", "reduced_tail", "width_mult"}


def build(name: str, *, channels: int, classes: int, options: Mapping[str, Any] | None = None) -> Any:
    """Return the classifier `name` with random weights and `classes` outputs; `options` go to its own function.

    With `channels` other than 3 the first convolution is replaced by one like it. Raises `ValueError` for options that
    would load weights or contradict `classes`.
    """
    import torchvision

    given = dict(options or {})
    _refuse_reserved(given)
    extra = {"aux_logits": False, "init_weights": True} if name in _WITH_AUXILIARY_LOGITS else {}
    model = torchvision.models.get_model(name, weights=None, num_classes=classes, **extra | given)
    _refuse_unread(given, torchvision.models.get_model_builder(name), model)
    if channels != 3:
        _replace_first_convolution(model, channels)
    return model


def _refuse_reserved(given: Mapping[str, Any]) -> None:
    for option in ("weights", "progress", "num_classes"):
        if option in given:
            raise ValueError(
                f"expected no option '{option}', got one; classes come from the source, and trained weights from "
                "a checkpoint (base: {from: PATH})"
            )


def _refuse_unread(given: Mapping[str, Any], builder: Callable[..., Any], model: nn.Module) -> None:
    """Refuse options that torchvision's `**kwargs` would silently ignore."""
    parameters = (*inspect.signature(builder).parameters.values(), *inspect.signature(type(model)).parameters.values())
    known = {p.name for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD} | _UNDECLARED
    for option in given:
        if option not in known:
            raise ValueError(f"expected an option that torchvision reads, got '{option}'; remove it")


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
