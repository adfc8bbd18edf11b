"""Files that are whole or not there, also after a kill."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from simulator.errors import StoreError, StoreUnavailableError

#: what a file is to hold: text (UTF-8), bytes, or a function that writes a file at the path it is given
Content = str | bytes | Callable[[Path], object]


def replace_file(path: Path, content: Content, *, durable: bool = True, partial: Path | None = None) -> Path:
    """Write a temporary file beside `path`, rename it to `path` once it is whole, and return `path`.

    `durable`: content and name have reached the disk on return, so a loss of power leaves no torn file either.
    `partial` is the temporary file; by default its name is unique to this thread. Text and bytes are not written
    through a link in its place. Raises what the writing raises, mostly `OSError`; the folder must exist.
    """
    partial = partial or path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
    try:
        _fill(partial, content)
        if durable:
            sync(partial)
        os.rename(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    if durable:
        sync(path.parent)
    return path


def write_whole(path: Path, content: Content) -> Path:
    """Make the folder of `path` and write the file as `replace_file` does; `StoreUnavailableError` for an `OSError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return replace_file(path, content)
    except OSError as error:
        raise StoreUnavailableError(
            f"expected {path} to be writable, got {error}; free space or change the folder"
        ) from error


def write_json(path: Path, values: Mapping[str, Any]) -> Path:
    """Write JSON values as `write_whole` does, and return `path`."""
    return write_whole(path, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return what `write_json` wrote; `StoreError` when it is not that: a study that goes on writes it anew."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"expected {path} to hold JSON values, got {error}; delete it") from error
    if not isinstance(values, dict):
        raise StoreError(f"expected {path} to hold a mapping, got {type(values).__name__}; delete it")
    return values


def sync(path: Path, *, follow: bool = True) -> None:
    """Wait until a file's bytes, or a folder's renames, have reached the disk; `follow`: of what a link leads to."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fill(path: Path, content: Content) -> None:
    if callable(content):
        path.unlink(missing_ok=True)  # of a killed process with our number: not every library writes over a file
        content(path)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
