"""Names that every store accepts: of runs, of registered models, of tags."""

from __future__ import annotations

import re

from simulator.errors import StoreError

__all__ = ["LONGEST_TAG", "check_run", "cut", "lock_model", "period_key", "registered_model", "safe_key"]

#: MLflow cuts run tags over 8,000 characters silently; a table cell should not be that long either.
LONGEST_TAG = 1000
_CUT = " … (cut)"
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def check_run(run: str) -> str:
    """Return `run` if it can name a run: letters, digits, `_`, `-`, at most 100 characters, no dot (it separates)."""
    if not _RUN.fullmatch(run):
        raise StoreError(
            f"expected run to be 1 to 100 letters, digits, '_' or '-', got '{run}'; give it a name of these characters"
        )
    return run


def registered_model(run: str, line: str) -> str:
    """Return the registered model's name of a line: `ebbdoor.<run>.<line>`. Run and arm hold no dots: it is unique."""
    return f"ebbdoor.{check_run(run)}.{line}"


def lock_model(run: str) -> str:
    """Return the name that marks a run as held. Arms hold no underscores, so no line is named so."""
    return f"ebbdoor.{check_run(run)}.writer_lock"


def period_key(period: int) -> str:
    """Return `period.0007`: the tag that commits a period."""
    return f"period.{period:04d}"


def safe_key(text: str) -> str:
    """Return `text` as a metric or tag key: characters that MLflow refuses become `_`, at most 250 of them."""
    return re.sub(r"[^A-Za-z0-9_./ -]", "_", text)[:250]


def cut(text: str) -> str:
    """Return `text` short enough for a tag; what is cut away says so."""
    return text if len(text) <= LONGEST_TAG else text[: LONGEST_TAG - len(_CUT)] + _CUT
