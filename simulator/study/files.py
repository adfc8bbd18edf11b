"""Files of a study's folder: whole or not there, also after a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from simulator.errors import StoreError, StoreUnavailableError

__all__ = ["read_json", "write_json", "write_whole"]


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file by `write`, which is given another name, so that a reader never meets half of it; return `path`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(beside)
            _flush(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise StoreUnavailableError(
            f"expected {path} to be writable, got {error}; free space or change the folder"
        ) from error
    return path


def write_json(path: Path, values: Mapping[str, Any]) -> Path:
    """Write JSON values whole, and return `path`."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return write_whole(path, partial(Path.write_text, data=text, encoding="utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """Return what `write_json` wrote; `StoreError` when it is not that."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"expected {path} to hold JSON values, got {error}; delete its folder") from error
    if not isinstance(values, dict):
        raise StoreError(f"expected {path} to hold a mapping, got {type(values).__name__}; delete its folder")
    return values


def _flush(path: Path) -> None:
    """Bring a file's bytes to the disk before its name is there."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
