"""Names of new runs: no two commands of a workspace take the same one, also when they begin in the same second."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Final

#: the folder of the workspace where a name is taken by making a file of that name, which only one process can
_TAKEN: Final = ".names"

_DAY: Final = 86_400.0  # seconds after which a taken name is of no use: it holds the second of its taking


def new_name(scenario: str, seed: int, workspace: Path, when: datetime | None = None) -> str:
    """Take an unused name such as `quickstart-s0-20261122-144500`: safe in file, tag and model names."""
    stem = f"{scenario}-s{seed}-{when or datetime.now():%Y%m%d-%H%M%S}"
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(name for name in names if not (workspace / name).exists() and _take(workspace / _TAKEN, name))


def _take(folder: Path, name: str) -> bool:
    """Return whether this call, of all processes, is the first to take `name`."""
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    try:
        os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        return False
    return True


def _clear(folder: Path) -> None:
    """Remove names that were taken days ago; a file that holds anything is not ours."""
    for path in folder.iterdir():
        with suppress(OSError):  # another process removes it too
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_size == 0 and time.time() - found.st_mtime > _DAY:
                path.unlink()
