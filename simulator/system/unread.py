"""Output whose reader has gone (`ebbdoor run ... 2>&1 | head -1`): it is dropped, and the command goes on."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any


def outlive_readers() -> None:
    """Have this process, from now on, write into nothing where a pipe of its output was closed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where a test or a host program has put something else
            for name in ("write", "flush"):
                setattr(stream, name, _dropping(stream, getattr(stream, name)))


def _dropping(stream: io.TextIOWrapper, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def called(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except BrokenPipeError:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())  # the text that is still in the buffer goes there too
            os.close(nothing)
            return len(arguments[0]) if arguments else None

    return called
