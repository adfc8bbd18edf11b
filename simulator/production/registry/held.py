"""Be a run's only writer for the length of a block, without its data and without playing it.

One process at a time plays a study, and one a timeline.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.errors import RunHeldError, StoreError

__all__ = ["beside", "held", "locked_folder"]

if TYPE_CHECKING:
    from simulator.production.registry.base import Ledger


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


@contextmanager
def locked_folder(folder: Path, run: str, what: str) -> Iterator[None]:
    """Hold the folder `run` inside `folder` for the block; `what` names it in the sentence of `RunHeldError`.

    A holder that is known to be dead is replaced. Of one on another host, or in a container that has ended, nothing is
    known: its note is removed by hand.
    """
    from simulator.production.registry.folder import FolderLedger  # with pydantic, which a command line does without

    ledger = FolderLedger(folder)
    try:
        ledger.hold(run)
    except RunHeldError as error:
        holder = ledger.holder(run)
        if holder is None:
            raise
        advice = "wait for it, or end that process"
        if not holder.is_here:
            advice = f"if that process has ended, delete {folder / run / 'writer.json'}"
        raise RunHeldError(
            f"expected {what} to be free, got one held by process {holder.pid} on host '{holder.host}'; {advice}"
        ) from error
    try:
        yield
    finally:
        ledger.release()
