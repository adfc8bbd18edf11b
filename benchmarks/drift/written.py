"""Results as files, and as a part of a page."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from benchmarks.drift.tables import Result, tables

BEGIN, END = "<!-- measured by benchmarks.drift -->", "<!-- end of what benchmarks.drift measured -->"

_KEPT = ("sources", "seeds", "network", "draws", "undrifted", "references", "per_reference")


@final
@dataclass(frozen=True, slots=True)
class Written:
    """The results of one or more calls, and for each call how, when and on what it was measured."""

    calls: list[dict[str, Any]]
    results: list[Result]

    @staticmethod
    def new(results: list[Result], options: Mapping[str, Any]) -> Written:
        """Return results measured now."""
        about = {"cpu": _cpu(), "date": datetime.now(UTC).date().isoformat()}
        return Written([{**about, **{key: options[key] for key in _KEPT}}], results)

    @staticmethod
    def read(paths: Sequence[Path]) -> Written:
        """Return the results of several files together; a file that is none of ours ends the program."""
        calls: list[dict[str, Any]] = []
        results: list[Result] = []
        for path in paths:
            try:
                found = json.loads(path.read_text("utf-8"))
                tables(found["results"])
                calls, results = [*calls, *found["calls"]], [*results, *found["results"]]
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                sys.exit(f"expected a file that --format json wrote, got {path}: {error}; measure again")
        return Written(calls, results)


def replaced(page: str, found: Written) -> str:
    """Return `page` with what stands between its two markers written anew."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        sys.exit(f"expected the page to hold '{BEGIN}' and '{END}', got none or one; add both lines")
    about = "\n".join(_about(call) for call in found.calls)
    return f"{head}{BEGIN}\n\n{about}\n\n{tables(found.results)}\n{END}{tail}"


def _about(call: Mapping[str, Any]) -> str:
    return (
        f"- {', '.join(call['sources'])}: {call['network']}, seeds {' '.join(map(str, call['seeds']))}, "
        f"{call['draws']} batches for each magnitude, {call['undrifted']} undrifted periods, "
        f"{call['references']} × {call['per_reference']} by reference; {call['cpu']}, {call['date']}"
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
