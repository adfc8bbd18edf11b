"""Settings of Python's garbage collector and of the C library's memory that make our processes start and end faster.

Importing torch, MLflow, Prefect and Evidently creates over a million objects that live as long as the process. Python's
collector searches all of them again and again during the imports, and once more at the end, and finds no garbage.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ARENA_MAX = -8  # of glibc's malloc.h


@contextmanager
def beginning() -> Iterator[None]:
    """Import in the block what a process needs first: as `importing`, and never search the objects present then.

    Use it for a process's first imports only: an object that is present then is not freed if it is, or later becomes,
    part of a cycle of garbage.
    """
    known = len(sys.modules)
    with importing():
        yield
        if len(sys.modules) > known:
            gc.freeze()


@contextmanager
def importing() -> Iterator[None]:
    """Switch the garbage collector off in the block."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


def end_soon() -> None:
    """Let this process end without a last garbage collection; the system takes back all of its memory anyway."""
    atexit.unregister(_set_aside)
    atexit.register(_set_aside)


def one_heap() -> None:
    """Let the threads that start from now on allocate from one heap, where the C library is glibc; else a no-op.

    By default glibc gives each thread a heap of its own, so that none waits for another. But memory that one thread
    freed cannot be used by another then, and a timeline starts new threads in each period: it holds 10 % more memory.
    """
    with suppress(AttributeError, ValueError, OSError):
        if os.confstr("CS_GNU_LIBC_VERSION"):
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def _set_aside() -> None:
    """Exclude every object from the last collection; not with torch's compiler, whose Triton warns of what is left."""
    if "triton" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()
