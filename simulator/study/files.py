"""JSON files of a study's folder: whole or not there, also after a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.errors import StoreError
from simulator.study.whole import write_text

__all__ = ["read_json", "write_json"]


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
