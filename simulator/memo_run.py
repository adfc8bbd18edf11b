"""What the lines of one run share: a folder of results that is removed with the run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from simulator.memo import NO_MEMO, FolderMemo, Memo

__all__ = ["run_memo"]


@contextmanager
def run_memo(lines: int) -> Iterator[Memo]:
    """Give the processes of a run with `lines` lines one memo, in the system's folder for temporary files.

    Arms have one base where they do not differ until the first update, and so have their twins. Nothing is found again
    by another run, nor by the same when it goes on: the ledger alone says what is done. One line shares with nobody;
    where no folder can be made, nothing is shared. A killed process leaves the folder behind, and nobody reads it.
    """
    with ExitStack() as stack:
        memo: Memo = NO_MEMO
        if lines > 1:
            try:
                place = tempfile.TemporaryDirectory(prefix="ebbdoor-run-", ignore_cleanup_errors=True)
                memo = FolderMemo(Path(stack.enter_context(place)), lasting=False)
            except OSError:
                memo = NO_MEMO
        yield memo
