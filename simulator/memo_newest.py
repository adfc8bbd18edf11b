"""Files of which a process leaves the newest, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from typing import final

__all__ = ["Newest"]


@final
class Newest:
    """Counts the files it is told of, and removes the oldest of them that are too much; threads may share it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._files: deque[tuple[Path, int]] = deque()
        self._bytes = 0
        self._counting = threading.Lock()

    def add(self, path: Path) -> None:
        """Count a file that was written just now; raises `OSError` when it is gone or an older one stays."""
        with self._counting:
            self._files.append((path, path.stat().st_size))
            self._bytes += self._files[-1][1]
            while self._bytes > self._limit:
                oldest, size = self._files.popleft()
                oldest.unlink(missing_ok=True)
                self._bytes -= size
