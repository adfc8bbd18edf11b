"""What the lines of one run share: a folder of results that is removed with the run."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from simulator.cache.store import NO_CACHE, Cache, FolderCache

__all__ = ["run_cache"]

_PREFIX = ".ebbdoor-lines-"

#: hidden, and as `tempfile` ends a name: no folder of a user's own is called so
_OURS = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")


@contextmanager
def run_cache(lines: int) -> Iterator[Cache]:
    """Give the processes of a run with `lines` lines one memo, in the system's folder for temporary files.

    Arms have one base where they do not differ until the first update, and so have their twins. Nothing is found again
    by another run, nor by the same when it goes on: the ledger alone says what is done. One line shares with nobody;
    where no folder can be made, nothing is shared. What a killed process leaves behind, nobody reads, and the next run
    of the user's removes.
    """
    with ExitStack() as stack:
        cache: Cache = NO_CACHE
        if lines > 1:
            _remove_left()
            with suppress(OSError):
                cache = FolderCache(stack.enter_context(_held_folder()), lasting=False)
        yield cache


@contextmanager
def _held_folder() -> Iterator[Path]:
    """A new folder, locked for the block and then removed."""
    with ExitStack() as stack:
        new = Path(tempfile.mkdtemp(prefix=".ebbdoor-new-"))
        stack.callback(shutil.rmtree, new, ignore_errors=True)
        stack.enter_context(_locked(new))
        # locked first: under this name any other run may take it for one that was left
        folder = new.rename(new.with_name(f"{_PREFIX}{new.name[-8:]}"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def _remove_left() -> None:
    """Remove this user's folders that no run holds: the system frees the lock of whoever ends, however it ends."""
    with suppress(OSError):
        for folder in [path for path in Path(tempfile.gettempdir()).iterdir() if _OURS.fullmatch(path.name)]:
            with suppress(OSError), _locked(folder):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder for the block. Raises `OSError` where another does, at a link, and at a stranger's folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(f"expected {folder} to be this user's, got another's")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
