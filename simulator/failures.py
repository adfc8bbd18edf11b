"""What went wrong in another process, told there as values and raised here as the same kind of error."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import simulator.errors as errors
from simulator.errors import EXIT_CODES, EbbdoorError, WorkerError

__all__ = ["failure_of", "failure_values"]


def failure_values(error: Exception, asked: str) -> dict[str, Any]:
    """Return `error` as JSON values. What ebbdoor did not foresee becomes a sentence about what was `asked` for.

    A stranger's plug-in may raise anything; where, is printed with `EBBDOOR_TRACEBACK=1`.
    """
    if isinstance(error, EbbdoorError):
        return {"error": str(error), "code": error.exit_code, "kind": type(error).__name__}
    if os.environ.get("EBBDOOR_TRACEBACK"):
        traceback.print_exception(error, file=sys.stderr)
    sentence = (
        f"expected {asked} to work, got {type(error).__name__}: {error}; "
        "correct the plug-in that raised it, or see where with EBBDOOR_TRACEBACK=1"
    )
    return {"error": sentence, "code": WorkerError.exit_code, "kind": "WorkerError"}


def failure_of(values: Mapping[str, Any]) -> EbbdoorError:
    """Return the error that `values` tell of, of its kind where that is one of ours: its exit code is the same."""
    kind = getattr(errors, values["kind"], None)
    if not (isinstance(kind, type) and issubclass(kind, EbbdoorError)) or values["code"] not in EXIT_CODES:
        return WorkerError(values["error"])
    return kind(values["error"])
