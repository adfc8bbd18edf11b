"""CPU seconds of work, without those of importing modules.

Imports are lazy here and in the peers, so that some happen in the middle of the work. A hook in Python's import
machinery counts them; it sees only modules that are not loaded yet, and so costs the work nothing.
"""

from __future__ import annotations

import importlib
import resource
import threading
import time
from typing import Any, Self, final

# Python's own machinery, under the name by which `import`, `importlib.import_module` and C code all call it.
_MACHINERY: Any = importlib._bootstrap


@final
class CpuClock:
    """Seconds since `with` began: of this process and of its children that have ended; imports are counted apart."""

    def __init__(self) -> None:
        #: CPU seconds that importing took so far, whichever thread did it
        self.import_seconds = 0.0
        self._depth = threading.local()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._find = _MACHINERY._find_and_load
        _MACHINERY._find_and_load = self._timed
        self._began, self._wall = _cpu(), time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        _MACHINERY._find_and_load = self._find

    @property
    def work_seconds(self) -> float:
        """CPU seconds so far without importing."""
        return _cpu() - self._began - self.import_seconds

    def read(self) -> dict[str, float]:
        """Return `cpu_seconds` (without imports), `import_cpu_seconds` and `wall_seconds` (with imports) so far."""
        return {
            "cpu_seconds": self.work_seconds,
            "import_cpu_seconds": self.import_seconds,
            "wall_seconds": time.perf_counter() - self._wall,
        }

    def _timed(self, name: str, import_: Any) -> Any:
        if getattr(self._depth, "inside", False):
            return self._find(name, import_)
        self._depth.inside, began = True, time.thread_time()
        try:
            return self._find(name, import_)
        finally:
            self._depth.inside = False
            with self._lock:
                self.import_seconds += time.thread_time() - began


def _cpu() -> float:
    """CPU seconds of this process, and of the children it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
