"""Leaving a process as it was after a stranger's code has run in it.

It matters where defenses run in the process of the timeline (`in_process`); elsewhere their process ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules import module as modules

#: where patched functions are looked for
_NAMESPACES: tuple[Any, ...] = (torch, torch.linalg, functional, nn)


@contextmanager
def restored() -> Iterator[None]:
    """Put back torch's settings, global hooks and functions, the working folder and the environment.

    A copy of this process that is forked in the block ends at the block's end.
    """
    process, folder, environment = os.getpid(), os.getcwd(), dict(os.environ)
    kept = [dict(vars(namespace)) for namespace in _NAMESPACES]
    hooks = {name: dict(value) for name, value in vars(modules).items() if _is_hooks(name, value)}
    path, settings = list(sys.path), (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled())
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(1)
        for namespace, before in zip(_NAMESPACES, kept, strict=True):
            _put_back(vars(namespace), before)
        for name, value in hooks.items():
            _put_back(vars(modules)[name], value)
        torch.set_default_dtype(settings[0])
        torch.set_num_threads(settings[1])
        torch.set_grad_enabled(settings[2])
        sys.path[:] = path
        _restore_place(folder, environment)


def _is_hooks(name: str, value: Any) -> bool:
    return name.startswith("_global_") and name.endswith("hooks") and isinstance(value, dict)


def _put_back(now: dict[str, Any], before: dict[str, Any]) -> None:
    """Set what was changed or removed; what was added, as a late import does, stays unless it is a hook."""
    for name, value in before.items():
        if now.get(name) is not value:
            now[name] = value
    if all(isinstance(name, int) for name in now):
        for name in [name for name in now if name not in before]:
            del now[name]


def _restore_place(folder: str, environment: dict[str, str]) -> None:
    with suppress(OSError):
        if os.getcwd() != folder:
            os.chdir(folder)
    if dict(os.environ) != environment:
        os.environ.clear()
        os.environ.update(environment)
