"""Names of new runs: no two commands take the same one, also when they begin in the same second.

In a workspace the names that were taken are noted. In a store that several workspaces or hosts use, names are random.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from contextlib import suppress
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Final

from flows.settings import is_own
from simulator.production.registry.database import own_database

#: the folder of the workspace where a name is taken by making a file of that name, which only one process can
_TAKEN: Final = ".names"

_DAY: Final = 86_400.0  # seconds after which a taken name is of no use: it holds the second of its taking


def new_name(scenario: str, seed: int, workspace: Path, when: datetime | None = None) -> str:
    """Take an unused name such as `quickstart-s0-20261122-144500`: safe in file, tag and model names.

    In a shared store six random digits follow.
    """
    stem = f"{scenario}-s{seed}-{when or datetime.now():%Y%m%d-%H%M%S}"
    if _is_shared(workspace):
        stem += f"-{secrets.token_hex(3)}"
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(name for name in names if not (workspace / name).exists() and _take(workspace / _TAKEN, name))


def _is_shared(workspace: Path) -> bool:
    """Return whether other workspaces may keep runs in the same store: it is not this one's file or server."""
    address = os.environ.get("MLFLOW_TRACKING_URI")
    return own_database() is not None or (bool(address) and not is_own(str(address), workspace))


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
