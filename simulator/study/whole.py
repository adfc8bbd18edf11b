"""Files that any writer makes, in a study's folder: whole, or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from simulator.errors import StoreUnavailableError

__all__ = ["write_text", "write_whole"]


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
