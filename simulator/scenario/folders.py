"""The digest of a folder that an option names: the names and contents of all files below it, within bounds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from simulator.errors import ScenarioError

#: files and bytes of a folder that are read at most
MOST_FILES, MOST_BYTES = 10_000, 2**30

#: what programs leave in a folder by themselves
_NOT_CONTENT = ("__pycache__",)


def folder_digest(folder: Path, *, digest: Callable[[Path], str]) -> str:
    """Return the SHA-256 of a folder's files by name and `digest` of each; links to folders are not followed.

    Raises `ScenarioError` where it holds more than `MOST_FILES` files or `MOST_BYTES` bytes, or cannot be read.
    """
    try:
        files = _within_bounds(folder)
        whole = hashlib.sha256()
        for name, path in sorted(files.items()):
            whole.update(f"{name}\0{digest(path)}\n".encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise ScenarioError(
            f"expected folder '{folder}', which an option names, to be readable, got {type(error).__name__} at "
            f"'{error.filename}'; correct its permissions, or name another folder"
        ) from error
    return whole.hexdigest()


def _within_bounds(folder: Path) -> dict[str, Path]:
    """Return the files below `folder` by their names in it."""
    found: dict[str, Path] = {}
    size = 0
    for path in _files_below(folder):
        found[path.relative_to(folder).as_posix()] = path
        size += path.stat().st_size
        if len(found) > MOST_FILES or size > MOST_BYTES:
            raise ScenarioError(
                f"expected folder '{folder}', which an option names, to hold at most {MOST_FILES} files and "
                f"{MOST_BYTES // 2**20} MiB, got more; name the files that are needed, or a folder of them alone"
            )
    return found


def _files_below(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for where, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if name not in _NOT_CONTENT]
        yield from (path for name in names if (path := Path(where, name)).is_file())
