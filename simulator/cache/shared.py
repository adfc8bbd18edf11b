"""A cache that the lineages of one run share: a folder that is removed when the run ends."""

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

_PREFIX = ".ebbdoor-lines-"

#: hidden, and ending as `tempfile` ends a name: a user's own folder is hardly called so
_OURS = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")


@contextmanager
def run_cache(lineages: int) -> Iterator[Cache]:
    """Give the processes of a run with so many `lineages` one cache, in the system's folder for temporary files.

    Arms that do not differ before the first update share their base training, and so do their twins. Neither another
    run nor this one when resumed reads the folder: the ledger alone says what is done. With one lineage, or where no
    folder can be made, nothing is cached. The next run of the same user removes what a killed process left behind.
    """
    with ExitStack() as stack:
        cache: Cache = NO_CACHE
        if lineages > 1:
            _remove_abandoned()
            with suppress(OSError):
                cache = FolderCache(stack.enter_context(_locked_folder()), lasting=False)
        yield cache


@contextmanager
def _locked_folder() -> Iterator[Path]:
    """Yield a new folder, locked during the block and removed after it."""
    with ExitStack() as stack:
        new = Path(tempfile.mkdtemp(prefix=".ebbdoor-new-"))
        stack.callback(shutil.rmtree, new, ignore_errors=True)
        stack.enter_context(_locked(new))
        # locked before it is renamed: a run that finds this name unlocked takes it for abandoned and removes it
        folder = new.rename(new.with_name(f"{_PREFIX}{new.name[-8:]}"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def _remove_abandoned() -> None:
    """Remove this user's folders that no run has locked: the system frees a process's locks however it ends."""
    with suppress(OSError):
        for folder in [path for path in Path(tempfile.gettempdir()).iterdir() if _OURS.fullmatch(path.name)]:
            with suppress(OSError), _locked(folder):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder during the block. Raises `OSError` when it is locked, a link, or another user's."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(f"expected {folder} to be this user's, got another's")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
