"""Lock a run, a study's folder or a timeline for the length of a block: one process at a time writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.errors import RunHeldError, StoreError

if TYPE_CHECKING:
    from simulator.production.registry.base import Ledger


@contextmanager
def locked(ledger: Ledger, run: str, *, take_over: bool = False) -> Iterator[None]:
    """Lock `run` for the block; its data are not needed. A block that raises is told of a release that fails too."""
    ledger.hold(run, take_over=take_over)
    try:
        yield
    except BaseException as error:
        with noting_failure(error):
            ledger.release()
        raise
    ledger.release()


@contextmanager
def noting_failure(error: BaseException) -> Iterator[None]:
    """Add a note to `error`, which ended the run, when a store fails in the block; that failure is not raised."""
    try:
        yield
    except StoreError as second:
        error.add_note(f"After that: {second}")


@contextmanager
def locked_folder(folder: Path, run: str, what: str) -> Iterator[Ledger]:
    """Lock the folder `run` inside `folder` for the block; the value is the ledger in `folder` that holds the lock.

    `what` names it in the sentence of `RunHeldError`. A holder that is known to be dead is replaced. Of one on another
    host, or in a container that has ended, nothing is known: its note is removed by hand.
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
        yield ledger
    finally:
        ledger.release()
