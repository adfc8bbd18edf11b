"""A lock between processes of one host, freed by the system when its holder ends.

JSON files of a study's folder: whole or not there, also after a kill.

Files that any writer makes, in a study's folder: whole, or not there.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simulator.errors import StoreError, StoreUnavailableError

__all__ = ["exclusive", "read_json", "write_json", "write_text", "write_whole"]


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` write a file beside `path`, move it there, and return `path`; its folder is made.

    Raises `StoreUnavailableError` when the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise StoreUnavailableError(
            f"expected {path} to be writable, got {error}; free space or change the folder"
        ) from error
    return path


def write_text(path: Path, text: str) -> Path:
    """Write `text` as `write_whole` does, on the disk before it has its name, and return `path`."""

    def write(beside: Path) -> None:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    return write_whole(path, write)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for the lock file `path` and hold it for the block. The file stays: removing it would race.

    A link in its place is not followed: others may write to the folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_json(path: Path, values: Mapping[str, Any]) -> Path:
    """Write JSON values, on the disk before they have their name, and return `path`."""
    return write_text(path, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return what `write_json` wrote; `StoreError` when it is not that: a study that goes on writes it anew."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"expected {path} to hold JSON values, got {error}; delete it") from error
    if not isinstance(values, dict):
        raise StoreError(f"expected {path} to hold a mapping, got {type(values).__name__}; delete it")
    return values
