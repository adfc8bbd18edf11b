"""Results as files, and as a part of a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from benchmarks.defenses.lab import RATE
from benchmarks.defenses.tables import Result, tables

BEGIN, END = "<!-- measured by benchmarks.defenses -->", "<!-- end of what benchmarks.defenses measured -->"


@final
@dataclass(frozen=True, slots=True)
class Written:
    """The results of one or more calls, and for each call what was measured, and when."""

    calls: list[dict[str, Any]]
    results: list[Result]

    @staticmethod
    def new(results: list[Result], options: Mapping[str, Any]) -> Written:
        """Return results measured now."""
        kept = {key: options[key] for key in ("source", "network", "seeds")}
        return Written([{"date": datetime.now(UTC).date().isoformat(), **kept}], results)

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
    seeds = " ".join(map(str, call["seeds"]))
    return f"- {call['source']}, {call['network']}, {100 * RATE:g} % poison, seeds {seeds}; {call['date']}"
