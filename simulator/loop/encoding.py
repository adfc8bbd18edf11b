"""The one place where what a stage takes and returns is encoded: only values that cross to a worker process are.

Values become JSON; tensors inside them travel beside it, by name. Types are read from the stage's own annotations, so a
stage is written once and works in either process.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter
from torch import Tensor

#: the key of what stands for a tensor in the JSON
_TENSOR = "$tensor"

Encoded = tuple[Any, dict[str, Tensor]]


def encode(value: Any) -> Encoded:
    """Return `value` as JSON values, and its tensors by name."""
    tensors: dict[str, Tensor] = {}
    return _encoded(value, tensors), tensors


def encode_arguments(stage: Callable[..., Any], given: Sequence[Any], named: Mapping[str, Any]) -> Encoded:
    """Return the arguments of a method call by name, encoded; `given` and `named` leave out the instance."""
    bound = inspect.signature(stage).bind(None, *given, **named).arguments
    return encode({name: value for name, value in bound.items() if name != "self"})


def decode_arguments(stage: Callable[..., Any], values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    """Return the keyword arguments that `encode_arguments` encoded, of the types that `stage` declares."""
    adapters = _adapters(stage)
    return {name: adapters[name].validate_python(_decoded(value, tensors)) for name, value in values.items()}


def decode_result(stage: Callable[..., Any], value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return a result that `encode` encoded, of the type that `stage` declares."""
    return _adapters(stage)["return"].validate_python(_decoded(value, tensors))


@cache
def _adapters(stage: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(stage)
    return {name: _adapter(hint) for name, hint in hints.items()}


def _adapter(hint: Any) -> TypeAdapter[Any]:
    if inspect.isclass(hint) and issubclass(hint, BaseModel):
        return TypeAdapter(hint)
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def _encoded(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name := str(len(tensors))] = value
        return {_TENSOR: name}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _encoded(item, tensors) for key, item in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [_encoded(item, tensors) for item in value]
    return value


def _decoded(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_TENSOR}:
            return tensors[value[_TENSOR]]
        return {key: _decoded(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item, tensors) for item in value]
    return value
