"""Functions and classes of torch that somebody else's code has put others in the place of."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, final

import torch
from torch import nn
from torch.nn import functional

#: where patched functions are looked for; each class of `torch.nn` is another such place
NAMESPACES: tuple[ModuleType, ...] = (torch, torch.linalg, functional, nn)
_TORCH = Path(torch.__file__).parent
_CLASSES: tuple[type, ...] = tuple({id(one): one for one in vars(nn).values() if isinstance(one, type)}.values())


@final
class Functions:
    """What the names of torch stand for; equal while each still stands for the same. New names do not count."""

    def __init__(self) -> None:
        self.by_place = [(place, dict(vars(place))) for place in (*NAMESPACES, *_CLASSES)]

    def changed(self) -> list[tuple[Any, str, Any]]:
        """Return place, name and former value of each function or class that was replaced or removed since."""
        return [
            (place, name, value)
            for place, names in self.by_place
            for name, value in names.items()
            if (now := vars(place).get(name)) is not value and callable(value) and not _is_torchs_wrapper(now, value)
        ]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Functions) and not other.changed()

    def __hash__(self) -> int:
        return id(self)


def _is_torchs_wrapper(now: Any, before: Any) -> bool:
    """Whether torch itself has wrapped its function, as its compiler does when it is first imported."""
    code = getattr(now, "__code__", None)
    wrapped = getattr(now, "__wrapped__", None) is before or getattr(now, "_torchdynamo_orig_callable", None) is before
    return wrapped and code is not None and Path(code.co_filename).is_relative_to(_TORCH)


def read() -> Functions:
    """Return what torch's names stand for now."""
    return Functions()


def put_back(before: Functions) -> None:
    """Let each name stand for what it did."""
    for place, name, value in before.changed():
        setattr(place, name, value)
