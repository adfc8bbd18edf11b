"""Whether what a plug-in was shown is still as it was: tensors, models with their modes and hooks.

Torch counts each tensor's changes in place, also those through a view, but not those through NumPy or `.data`. So for
somebody else's code the bytes are hashed as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = (bool, int, float, str, tuple, type(None))
#: every kind of hook that a module can have
_HOOKS = tuple(name for name, value in vars(nn.Module()).items() if "hooks" in name and isinstance(value, dict))


def writes(values: Iterable[Tensor]) -> tuple[int, ...]:
    """Return how often each tensor was changed in place, through a view too; not through `.data` or NumPy.

    torch counts them under a private name, which is used here alone.
    """
    return tuple(value._version for value in values)


def prints_of(shown: Mapping[str, Any], *, thorough: bool) -> dict[str, Any]:
    """Return, by name, what tells whether each of `shown` was changed; `thorough`: by its bytes too."""
    return {name: _print(value, thorough) for name, value in _parts(shown)}


def changed(before: Mapping[str, Any], shown: Mapping[str, Any], *, thorough: bool) -> list[str]:
    """Return the names of what differs from `before`."""
    now = prints_of(shown, thorough=thorough)
    return [name for name, value in before.items() if now.get(name) != value]


def _parts(shown: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The tensors, arrays and models in `shown`, by name: those of a view's fields and of named weights too."""
    for name, value in shown.items():
        if isinstance(value, Tensor | np.ndarray | nn.Module):
            yield name, value
        elif is_dataclass(value) and not isinstance(value, type):
            yield from _parts({field.name: getattr(value, field.name) for field in fields(value) if field.repr})
        elif isinstance(value, Mapping):
            yield from ((name, value),) if _all_tensors(value) else ()


def _all_tensors(values: Mapping[Any, Any]) -> bool:
    return bool(values) and all(isinstance(value, Tensor) for value in values.values())


def _print(value: Any, thorough: bool) -> Any:
    if isinstance(value, Tensor):
        return _tensor(value, thorough)
    if isinstance(value, np.ndarray):
        return _digest(value) if thorough else None
    if isinstance(value, Mapping):
        return [(name, _tensor(one, thorough)) for name, one in value.items()]
    return model_print(value), [(name, _tensor(one, thorough)) for name, one in _tensors(value)]


def _tensor(value: Tensor, thorough: bool) -> Any:
    about = (id(value), *writes((value,)), value.requires_grad, value.grad is None, tuple(value.shape), value.dtype)
    return (*about, _digest(value.detach().cpu()) if thorough else "")


def model_print(model: nn.Module) -> list[Any]:
    """Return what a model is beside its tensors' values: modules, their settings and hooks, what is trained."""
    modules = [
        (name, type(one), one.training, "forward" in vars(one), _hooks(one), _settings(one))
        for name, one in model.named_modules()
    ]
    return [*modules, *((name, one.requires_grad, one.grad is None) for name, one in model.named_parameters())]


def _hooks(module: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(id(hook) for hook in getattr(module, name).values()) for name in _HOOKS]


def _settings(module: nn.Module) -> list[tuple[str, str]]:
    """The plain values of one of torch's modules, as a momentum; another's may count its own calls."""
    if not type(module).__module__.startswith("torch."):
        return []
    return [(name, repr(value)) for name, value in sorted(vars(module).items()) if isinstance(value, _PLAIN)]


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from (*model.named_parameters(), *model.named_buffers())


def _digest(value: Tensor | np.ndarray[Any, Any]) -> str:
    array = np.ascontiguousarray(_bytes_of(value) if isinstance(value, Tensor) else value)
    return hashlib.sha256(array.data).hexdigest() if array.size else ""


def _bytes_of(value: Tensor) -> np.ndarray[Any, Any]:
    flat: np.ndarray[Any, Any] = value.contiguous().reshape(-1).view(torch.uint8).numpy()
    return flat
