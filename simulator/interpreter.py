"""How our processes import much and end soon: the search for garbage walks all that was ever imported, and finds none.

Torch, MLflow, Prefect and Evidently make over a million objects that live as long as the process. Python's collector
looks through them again and again while they are imported, and once more at the end.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["end_soon", "importing"]


@contextmanager
def importing() -> Iterator[None]:
    """Do not look for garbage in the block; when it has imported something, never look through what is there now."""
    collected, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        if collected:
            gc.enable()


def end_soon() -> None:
    """Let this process end without a last search for garbage; its memory goes back to the system as a whole."""
    atexit.unregister(_set_aside)
    atexit.register(_set_aside)


def _set_aside() -> None:
    """Keep all from the last search; not where torch's compiler is loaded, for its Triton complains of what is left."""
    if "triton" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()
