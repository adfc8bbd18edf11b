"""What an update does not train: frozen parameters, and BatchNorm by its mode."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from simulator.errors import ScenarioError
from simulator.scenario.model import Recipe
from simulator.tensors import BATCH_NORMS


@contextmanager
def training_modes(model: nn.Module, recipe: Recipe, *, update: bool) -> Iterator[list[nn.Parameter]]:
    """Put `model` into training mode and yield the parameters to train; afterwards it is in eval mode.

    With `update`, parameters below a prefix of `recipe.frozen` keep their values, and so do the running statistics of
    BatchNorm layers below it. `recipe.batchnorm` treats every BatchNorm layer: "fixed-statistics" normalises with the
    running statistics and keeps them, "frozen" keeps weight and bias too. A prefix counts in whole parts:
    `features.1` means `features.1.weight`, not `features.10.weight`. Afterwards parameters require gradients as before.

    Raises `ScenarioError` for a prefix that names nothing, and when nothing is left to train.
    """
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    model.train()
    try:
        if update:
            _freeze(model, recipe.frozen)
            _fix_batchnorm(model, recipe)
        yield _trainable(model)
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(before[name])
        model.eval()


def _freeze(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    for prefix in prefixes:
        below = [parameter for name, parameter in model.named_parameters() if _is_below(name, prefix)]
        if not below:
            raise ScenarioError(_unknown(prefix, [name for name, _ in model.named_parameters()]))
        for parameter in below:
            parameter.requires_grad_(False)
        for name, module in _batchnorms(model):
            if _is_below(name, prefix):
                module.eval()


def _fix_batchnorm(model: nn.Module, recipe: Recipe) -> None:
    if recipe.batchnorm == "update":
        return
    for _, module in _batchnorms(model):
        module.eval()
        if recipe.batchnorm == "frozen":
            module.requires_grad_(False)


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    found = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not found:
        raise ScenarioError(
            "expected recipe.frozen and recipe.batchnorm to leave a parameter to train, got none left; freeze less"
        )
    return found


def _batchnorms(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, BATCH_NORMS)]


def _is_below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix.rstrip(".") + ".")


def _unknown(prefix: str, names: list[str]) -> str:
    parts = {
        ".".join(pieces[: end + 1]) for pieces in (name.split(".") for name in names) for end in range(len(pieces))
    }
    near = difflib.get_close_matches(prefix, sorted(parts), n=3, cutoff=0.5)
    hint = " or ".join(repr(name) for name in near or list(dict.fromkeys(name.split(".")[0] for name in names)))
    return f"expected recipe.frozen to name parameters of the network, got '{prefix}'; try {hint}"
