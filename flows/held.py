"""Be a run's only writer for the length of a block, without its data and without playing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from simulator.errors import StoreError

if TYPE_CHECKING:
    from simulator.production.registry.base import Ledger

__all__ = ["beside", "held"]


@contextmanager
def held(ledger: Ledger, run: str, *, take_over: bool = False) -> Iterator[None]:
    """Hold `run` in the block. When the block raises, a store that fails at the release too is told of beside it."""
    ledger.hold(run, take_over=take_over)
    try:
        yield
    except BaseException as error:
        with beside(error):
            ledger.release()
        raise
    ledger.release()


@contextmanager
def beside(error: BaseException) -> Iterator[None]:
    """Tell of a store that fails in the block beside `error`, which is why the run ended."""
    try:
        yield
    except StoreError as second:
        error.add_note(f"After that: {second}")
