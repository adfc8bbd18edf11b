"""Which layer's input is the feature vector: what defenses and monitors read of a network beside its logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from simulator.errors import PluginError
from simulator.production.training.trial import Facts
from simulator.scenario.sentences import near

#: where a network keeps the name of its feature layer, in copies of it too
_KEPT = "_ebbdoor_features"
#: images that show which layers are used
_IMAGES = 2


def with_features(name: str, model: nn.Module, facts: Facts, layer: Any = None) -> nn.Module:
    """Return `model`, which knows from now on the layer whose input is its feature vector (`feature_layer`).

    `layer` names it; without a name it is the last `nn.Linear` that `forward` calls, if that gives the logits. Raises
    `PluginError` when there is no such layer, or `forward` does not use it.
    """
    used = _used(model, facts)
    setattr(model, _KEPT, _last_linear(name, model, facts, used) if layer is None else _named(name, model, used, layer))
    return model


def feature_layer(model: nn.Module) -> str:
    """Return the name of the layer whose input is the feature vector, as `with_features` found it.

    Of a module that was not made by `build_network`: the last `nn.Linear`; `PluginError` when it has none.
    """
    kept = getattr(model, _KEPT, None)
    if isinstance(kept, str):
        return kept
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise PluginError(
            f"expected network {type(model).__name__} to hold an nn.Linear, got none; end it with one, "
            "so that defenses and monitors can read features"
        )
    return names[-1]


def _used(model: nn.Module, facts: Facts) -> dict[str, bool]:
    """Return the layers that one batch goes through, in the order of their last call; whether each gives the logits.

    Only layers whose first argument is a tensor with a row for each image.
    """
    called: dict[str, bool] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            rows = inputs[0] if inputs else None
            if isinstance(rows, Tensor) and rows.ndim > 1 and len(rows) == _IMAGES:
                called.pop(name, None)
                called[name] = isinstance(output, Tensor) and tuple(output.shape) == (_IMAGES, facts.classes)

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(facts.images(model, _IMAGES))
    finally:
        for handle in handles:
            handle.remove()
    return called


def _last_linear(name: str, model: nn.Module, facts: Facts, used: dict[str, bool]) -> str:
    linear = [layer for layer in used if isinstance(model.get_submodule(layer), nn.Linear)]
    if linear and used[linear[-1]]:
        return linear[-1]
    got = f"'{linear[-1]}', which does not give them" if linear else "none that its forward calls"
    ends = [layer for layer in used if not list(model.get_submodule(layer).children())][-3:]
    raise PluginError(
        f"expected network '{name}' to give its {facts.classes} logits by an nn.Linear, whose input defenses and "
        f"monitors read as features, got {got}; name the layer whose input they are to read: "
        f"{{use: '{name}', features: LAYER}}, e.g. {' or '.join(ends) or 'one of its own'}"
    )


def _named(name: str, model: nn.Module, used: dict[str, bool], layer: Any) -> str:
    layers = [known for known, _ in model.named_modules() if known]
    if layer not in layers and f"network.{layer}" in layers:  # inside `Normalised`
        layer = f"network.{layer}"
    if not isinstance(layer, str) or layer not in layers:
        hint = near(str(layer), layers, f"the last ones are {', '.join(layers[-3:]) or 'not there: it has none'}")
        raise PluginError(f"expected features of network '{name}' to name a layer of it, got {layer!r}; {hint}")
    if layer not in used:
        raise PluginError(
            f"expected features of network '{name}' to name a layer that its forward calls with a row for each image, "
            f"got '{layer}', which it does not; name one of {', '.join(list(used)[-3:]) or 'another network'}"
        )
    return layer
