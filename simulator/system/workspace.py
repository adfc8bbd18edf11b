"""Which folder is the workspace: the same for commands, for loaded data, and for what is kept from defenses."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

#: environment variable that moves the workspace
WORKSPACE: Final = "EBBDOOR_WORKSPACE"
#: the workspace's name where it is not moved
FOLDER: Final = "ebbdoor-runs"


def default_workspace() -> Path:
    """Return the folder of runs, stores and server files: `EBBDOOR_WORKSPACE`, or `ebbdoor-runs` of this project.

    A project is found as git finds its own: the nearest folder, here or above, with a `.git` or a `pyproject.toml`.
    Outside one, or where there is one already, the folder lies here.
    """
    given = os.environ.get(WORKSPACE)
    if given:
        return Path(given).absolute()
    here = Path.cwd()
    if (here / FOLDER).is_dir():
        return here / FOLDER
    return next((folder for folder in (here, *here.parents) if _is_project(folder)), here) / FOLDER


def _is_project(folder: Path) -> bool:
    """Whether a project begins in `folder`: one of this user, for a workspace says where to send passwords."""
    with suppress(OSError):
        marked = any((folder / name).exists() for name in (".git", "pyproject.toml"))
        return marked and folder.stat().st_uid == os.geteuid()
    return False
