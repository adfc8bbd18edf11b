"""What a plug-in returned, checked as it will be kept: of its type, finite, bounded in size, and plain JSON values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from simulator.errors import PluginError
from simulator.guard.call import Plugin
from simulator.guard.place import here

V = TypeVar("V", bound=BaseModel)

#: characters of what one call may have kept, as JSON text
_LONGEST = 1_000_000
#: whole numbers that every store and table can hold
_LARGEST = 2**63 - 1


def checked_value(plugin: Plugin, found: object, kind: type[V]) -> V:
    """Return `found` as a `kind` made anew of its own values; `PluginError` when it is none, or cannot be kept."""
    if type(found) is not kind:
        raise PluginError(
            f"expected {plugin.name} to return a {kind.__name__}{here()}, got {type(found).__name__}; correct it"
        )
    try:
        values = found.model_dump(warnings=False)  # what does not fit is told below, in one sentence
        check_json(plugin, values, f"a {kind.__name__}")
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PluginError(
            f"expected {plugin.name} to return a {kind.__name__} that fits{here()}, got {where}: {first['msg']}; "
            "correct it"
        ) from error


def check_json(plugin: Plugin, values: object, what: str) -> None:
    """Raise `PluginError` unless `values` are JSON values that can be kept: finite, in UTF-8, not too large."""
    fault = fault_of(values)
    if fault is not None:
        raise PluginError(
            f"expected {plugin.name} to return {what} of finite JSON values, at most {_LONGEST} characters{here()}, "
            f"got {fault}; correct it"
        )


def fault_of(values: object) -> str | None:
    """Return None when `values` are JSON values that can be kept, else what is wrong with them."""
    fault = _fault(values)
    if fault is not None:
        return fault
    try:
        size = len(json.dumps(values, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        return str(error)
    return f"{size} characters" if size > _LONGEST else None


def check_images(plugin: Plugin, found: object, given: Tensor, what: str, *, unit: bool = True) -> Tensor:
    """Return `found` if it is images like `given`, finite and, with `unit`, in [0, 1]; else raise `PluginError`."""
    fault = _unlike(found, given)
    if fault is None:
        assert isinstance(found, Tensor)
        low, high = (float(bound) for bound in found.aminmax()) if found.numel() else (0.0, 0.0)
        if not (math.isfinite(low) and math.isfinite(high)):
            fault = "values that are not finite"
        elif unit and not (low >= 0 and high <= 1):
            fault = f"values from {low:g} to {high:g}"
        else:
            return found
    kind = f"{tuple(given.shape)} of {given.dtype} on {given.device}, finite{' and in [0, 1]' if unit else ''}"
    raise PluginError(f"expected {plugin.name} to return {what} {kind}{here()}, got {fault}; correct it")


def check_whole(
    plugin: Plugin, found: object, rows: int, dtype: torch.dtype, device: torch.device, what: str, below: int
) -> Tensor:
    """Return `found` if it is (rows,) of `dtype` in [0, below); else raise `PluginError`."""
    fault = "another type" if not isinstance(found, Tensor) else None
    if isinstance(found, Tensor):
        if (tuple(found.shape), found.dtype, found.device) != ((rows,), dtype, device):
            fault = f"{tuple(found.shape)} of {found.dtype} on {found.device}"
        elif rows and not (int(found.min()) >= 0 and int(found.max()) < below):
            fault = f"values from {int(found.min())} to {int(found.max())}"
        else:
            return found
    raise PluginError(
        f"expected {plugin.name} to return {what} ({rows},) of {dtype} on {device} in [0, {below - 1}]{here()}, "
        f"got {fault}; correct it"
    )


def _unlike(found: object, given: Tensor) -> str | None:
    if not isinstance(found, Tensor):
        return type(found).__name__
    if (found.shape, found.dtype, found.device) != (given.shape, given.dtype, given.device):
        return f"{tuple(found.shape)} of {found.dtype} on {found.device}"
    return "a tensor that records gradients" if found.requires_grad else None


def _fault(value: object) -> str | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return None if abs(value) <= _LARGEST else "a whole number beyond 64 bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value}"
    if isinstance(value, str):
        return None if value.isascii() or _in_utf8(value) else "text that is not UTF-8"
    parts: list[Any] = [*value.keys(), *value.values()] if isinstance(value, Mapping) else []
    parts = list(value) if isinstance(value, Sequence) else parts
    try:
        return next((fault for part in parts if (fault := _fault(part)) is not None), None)
    except RecursionError:
        return "values nested too deeply"


def _in_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
