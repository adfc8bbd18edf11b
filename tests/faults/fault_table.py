"""Tables that grow a line at a time."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["Table", "say"]


def say(text: str) -> None:
    """Print a line at once: a harness runs for minutes."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Table:
    """Columns with their widths; the heading is printed with the first row."""

    def __init__(self, columns: Mapping[str, int]) -> None:
        self._columns = dict(columns)
        self._begun = False

    def row(self, values: Mapping[str, Any]) -> None:
        """Print one row; what is missing is a dash."""
        if not self._begun:
            say("  ".join(name.ljust(width) for name, width in self._columns.items()).rstrip())
            self._begun = True
        say("  ".join(str(values.get(name, "-")).ljust(width) for name, width in self._columns.items()).rstrip())
