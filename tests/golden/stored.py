"""The digests that are kept in `digests.json`, by what numbers a machine computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["FILE", "read", "write"]

FILE = Path(__file__).parent / "digests.json"


def read() -> dict[str, Any]:
    """Return, by fingerprint, `about` and `digests`: SHA-256 by scenario, line and period."""
    return dict(json.loads(FILE.read_text("utf-8"))) if FILE.exists() else {}


def write(stored: dict[str, Any]) -> None:
    """Replace the file."""
    FILE.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n", "utf-8")
