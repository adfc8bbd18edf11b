"""A worker process: lines that a parent opens and whose stages it calls. `python -m simulator.worker FD`."""

from __future__ import annotations

import sys

from simulator.interpreter import importing

__all__: list[str] = []

if __name__ == "__main__":
    with importing():
        from simulator.hosts import serve_lines
    serve_lines(int(sys.argv[1]))
