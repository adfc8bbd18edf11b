"""How our processes import much, hold little and end soon.

The search for garbage walks all that was ever imported, and finds none.

Torch, MLflow, Prefect and Evidently make over a million objects that live as long as the process. Python's collector
looks through them again and again while they are imported, and once more at the end.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["beginning", "end_soon", "importing", "one_heap"]

_ARENA_MAX = -8  # of glibc's malloc.h


@contextmanager
def beginning() -> Iterator[None]:
    """Surrounds what a process of ours imports first: as `importing`, and what is there then is never looked through.

    Nowhere else: what is garbage at that moment, and what of it becomes garbage in a ring later, stays for good.
    """
    known = len(sys.modules)
    with importing():
        yield
        if len(sys.modules) > known:
            gc.freeze()


@contextmanager
def importing() -> Iterator[None]:
    """Do not look for garbage in the block."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


def end_soon() -> None:
    """Let this process end without a last search for garbage; its memory goes back to the system as a whole."""
    atexit.unregister(_set_aside)
    atexit.register(_set_aside)


def one_heap() -> None:
    """Let the threads that start from now on take memory from one heap, where the C library is glibc; else do nothing.

    It gives each thread a heap of its own, so that none waits for another. What one thread has freed no other can use
    then, and a timeline's threads come and go with its periods: a tenth more memory is held, for nothing.
    """
    with suppress(AttributeError, ValueError, OSError):
        if os.confstr("CS_GNU_LIBC_VERSION"):
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def _set_aside() -> None:
    """Keep all from the last search; not where torch's compiler is loaded, for its Triton complains of what is left."""
    if "triton" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()
