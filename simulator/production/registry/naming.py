"""Names that every store accepts: of runs, and of their registered models in MLflow."""

from __future__ import annotations

import re

from simulator.errors import StoreError

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def check_run(run: str) -> str:
    """Return `run` if it can name a run: letters, digits, `_`, `-`, at most 100 characters, no dot (it separates)."""
    if not _RUN.fullmatch(run):
        raise StoreError(
            f"expected run to be 1 to 100 letters, digits, '_' or '-', got '{run}'; give it a name of these characters"
        )
    return run


def registered_model(run: str, lineage: str) -> str:
    """Return a lineage's registered model: `ebbdoor.<run>.<lineage>`, unique since run and arm hold no dots."""
    return f"ebbdoor.{check_run(run)}.{lineage}"


def lock_model(run: str) -> str:
    """Return the registered model that marks a run as locked. Arms hold no underscores, so no lineage is named so."""
    return f"ebbdoor.{check_run(run)}.writer_lock"
