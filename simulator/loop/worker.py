"""A worker process: lines that a parent opens and whose stages it calls. `python -m simulator.loop.worker FD`."""

from __future__ import annotations

import sys

from simulator.system.startup import beginning

__all__: list[str] = []

if __name__ == "__main__":
    with beginning():
        from simulator.loop.hosts import serve_lineages
    serve_lineages(int(sys.argv[1]))
