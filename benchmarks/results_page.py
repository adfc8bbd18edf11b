"""What a benchmark measured, as a JSON file that later calls read, and as the part of a page between two markers."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

Result = dict[str, Any]


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """The results of one or more calls, and for each call what was measured, when, and on which processor."""

    calls: list[dict[str, Any]]
    results: list[Result]

    @staticmethod
    def now(results: list[Result], about: Mapping[str, Any]) -> Measured:
        """Return results of today on this machine; `about`: the options of the call that matter."""
        return Measured([{"cpu": _cpu(), "date": datetime.now(UTC).date().isoformat(), **about}], results)


@final
@dataclass(frozen=True, slots=True)
class ResultsPage:
    """The part of a page that the `program` writes: a line a call, made by `about`, and the tables of the results."""

    program: str
    tables: Callable[[Sequence[Result]], str]
    about: Callable[[Mapping[str, Any]], str]

    @property
    def markers(self) -> tuple[str, str]:
        """The comments between which the page is written."""
        return f"<!-- measured by {self.program} -->", f"<!-- end of what {self.program} measured -->"

    def read(self, paths: Sequence[Path]) -> Measured:
        """Return the results of several files together; a file that is none of the program's ends it."""
        files = [self._read(path) for path in paths]
        calls, results = ([one for found in files for one in found[key]] for key in ("calls", "results"))
        return Measured(_united(calls), results)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
            self.tables(found["results"])
            [self.about(call) for call in found["calls"]]
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            sys.exit(f"expected a file that --format json wrote, got {path}: {error}; measure again")
        return found

    def replaced(self, page: str, found: Measured) -> str:
        """Return `page` with what stands between its two markers written anew."""
        first, last = self.markers
        head, begin, rest = page.partition(first)
        _, end, tail = rest.partition(last)
        if not (begin and end):
            sys.exit(f"expected the page to hold '{first}' and '{last}', got none or one; add both lines")
        calls = "\n".join(self.about(call) for call in found.calls)
        return f"{head}{first}\n\n{calls}\n\n{self.tables(found.results)}\n{last}{tail}"

    def report(self, found: Measured, page: Path | None, *, as_json: bool) -> None:
        """Write the part of `page` anew where one is given, and print the tables or the JSON."""
        if page is not None:
            page.write_text(self.replaced(page.read_text("utf-8"), found), "utf-8")
        sys.stdout.write((json.dumps(asdict(found)) if as_json else self.tables(found.results)) + "\n")


def _united(calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one call for those that differ in their seeds alone, with the seeds of all."""
    seeds: dict[str, list[int]] = {}
    for call in calls:
        seeds.setdefault(json.dumps({**call, "seeds": None}), []).extend(call["seeds"])
    return [json.loads(call) | {"seeds": sorted(set(mine))} for call, mine in seeds.items()]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
