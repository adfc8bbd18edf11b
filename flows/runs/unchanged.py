"""Whether a run's export says what its ledger holds, where that lies in the user's own workspace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.runs.folder import NOTE, find_run_folder
from simulator.errors import ScenarioError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from simulator.production.registry.base import Ledger

#: what the ledger does not decide: the registry's number, which a person may change in MLflow
_BESIDE = ("number",)

Place = tuple[str, str, int]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Committed:
    """A ledger's lines of a run by arm, control and period, and their summary. `complete`: no more will come."""

    rows: Mapping[Place, Row]
    summary: Mapping[str, Any]
    complete: bool


def expect_as_committed(folder: Path, workspace: Path) -> None:
    """Raise `StoreError` when the lines or the summary of the export in `folder` are not what its run committed.

    Nothing is checked of a folder that is no run's, of a run whose stores are not those of `workspace` or do not have
    it any more, and of an export that another version of ebbdoor wrote: `ebbdoor report` writes it anew. The export of
    a run that goes on may be of before its last periods.
    """
    if not (folder / NOTE).is_file() or not (workspace / "mlflow.db").is_file():
        return
    try:
        place = find_run_folder(str(folder), workspace)
    except ScenarioError:
        return
    if place.tracking_uri is not None or place.workspace != workspace.resolve():
        return
    summary = _json(folder / "summary.json")
    if _is_of_another_version(summary):
        return
    committed = _committed(place.open_stores()[1], place.run)
    if committed is not None:
        _expect_same(folder, place.run, _rows(folder), summary, committed)


def _expect_same(folder: Path, run: str, rows: Sequence[Row], summary: Mapping[str, Any], known: _Committed) -> None:
    anew = f"write it anew with `ebbdoor report {run}`"
    places = [_place(row) for row in rows]
    for place, row in zip(places, rows, strict=True):
        wanted = known.rows.get(place, {})
        differs = [key for key in {**row, **wanted} if row.get(key) != wanted.get(key) and key not in _BESIDE]
        if differs:
            got = f"another {', '.join(differs)}" if wanted else "a period that was not committed"
            raise StoreError(
                f"expected period {row['period']} of '{row['arm']}' in '{folder / 'periods.jsonl'}' to be as it was "
                f"committed, got {got}; {anew}"
            )
    same = sorted(places) == sorted(known.rows)
    if known.complete and not same:
        raise StoreError(
            f"expected '{folder / 'periods.jsonl'}' to hold the {len(known.rows)} periods that run '{run}' committed, "
            f"got {len(places)}; {anew}"
        )
    wanted, found = _of_one_definition(known.summary, summary)
    wrong = [key for key, value in wanted.items() if found.get(key) != value] if same else []
    if wrong:
        raise StoreError(
            f"expected '{folder / 'summary.json'}' to sum up what run '{run}' committed, got another "
            f"{', '.join(wrong)}; {anew}"
        )


def _of_one_definition(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the summaries without what other definitions decide, where `found` was written before today's."""
    from simulator.observer.lives import is_earlier, without_definitions

    return (without_definitions(wanted), without_definitions(found)) if is_earlier(found) else (wanted, found)


def _committed(ledger: Ledger, run: str) -> _Committed | None:
    """Return what the ledger holds of a run; None where it does not have or give it."""
    from simulator.observer.rows import row_of
    from simulator.observer.summary import summarise
    from simulator.production.registry.base import going

    try:
        head = ledger.head(run)
    except StoreUnavailableError:
        raise
    except StoreError:
        return None
    entries = {key.name: ledger.entries(key) for key in head.lineages}
    ended, periods = ledger.ends(), int(head.scenario["periods"])
    complete = all(len(one) > periods for one in going(entries, ended).values())
    summary = json.loads(json.dumps(summarise(entries, ended)))
    return _Committed(_by_place(row_of(entry) for one in entries.values() for entry in one), summary, complete)


def _by_place(rows: Iterable[Row]) -> dict[Place, Row]:
    plain = [json.loads(json.dumps(row)) for row in rows]
    return {_place(row): row for row in plain}


def _rows(folder: Path) -> list[Row]:
    """Return the lines of committed periods; those in which training diverged are in the summary too."""
    from simulator.observer.rows import DIVERGED

    found = [json.loads(line) for line in (folder / "periods.jsonl").read_text("utf-8").splitlines() if line]
    return [row for row in found if row.get("action") != DIVERGED]


def _place(row: Row) -> Place:
    return row["arm"], row.get("control", "none"), row["period"]


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}  # whoever reads it says what is wrong
    return found if isinstance(found, dict) else {}


def _is_of_another_version(summary: Mapping[str, Any]) -> bool:
    """Whether the export names another version of ebbdoor; one that names none is taken for this version's."""
    environment = summary.get("environment")
    named = environment.get("ebbdoor") if isinstance(environment, Mapping) else None
    return named is not None and named != version("ebbdoor")
