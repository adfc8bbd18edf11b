"""Make the workspace's MLflow store, in a process of its own: `python -m flows.servers.stores WORKSPACE`."""

from __future__ import annotations

import sys
from pathlib import Path

from simulator.errors import EbbdoorError
from simulator.production.registry.open import open_stores, prepare_environment

if __name__ == "__main__":
    prepare_environment()
    try:
        open_stores(tracking_uri=None, workspace=Path(sys.argv[1]))
    except EbbdoorError as error:
        sys.exit(str(error))
