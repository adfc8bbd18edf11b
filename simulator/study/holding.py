"""One process at a time plays a study, and one a timeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulator.errors import RunHeldError
from simulator.production.registry.folder import FolderLedger

__all__ = ["held"]


@contextmanager
def held(folder: Path, run: str, what: str) -> Iterator[None]:
    """Hold the folder `run` inside `folder` for the block; `what` names it in the sentence of `RunHeldError`.

    A holder that is known to be dead is replaced. Of one on another host, or in a container that has ended, nothing is
    known: its note is removed by hand.
    """
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
