"""Leaving a process as it was after a stranger's code has run in it.

It matters where defenses run in the process of the timeline (`in_process`); elsewhere their process ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn.modules import module as modules

from simulator.guard.patches import NAMESPACES
from simulator.guard.settings import Beside, put_back, read_settings
from simulator.guard.started import forget_threads


@contextmanager
def restored() -> Iterator[None]:
    """Put back what the guard of other plug-ins puts back, and torch's functions and all its global hooks.

    Nothing is said of it: a defense in a process of its own may do the same, and the outcomes are to be equal. A copy
    of this process that is forked in the block ends at the block's end.
    """
    process, settings, beside = os.getpid(), read_settings(), Beside.taken()
    threads = frozenset(threading.enumerate())
    kept = [dict(vars(namespace)) for namespace in NAMESPACES]
    hooks = {name: dict(value) for name, value in vars(modules).items() if _is_hooks(name, value)}
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(1)
        for namespace, before in zip(NAMESPACES, kept, strict=True):
            _put_back(vars(namespace), before)
        for name, value in hooks.items():
            _put_back(vars(modules)[name], value)
        put_back(settings)
        forget_threads(threads)
        beside.put_back()


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
