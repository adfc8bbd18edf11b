"""Whether a run's export says what its ledger holds, where that lies in the user's own workspace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flows.runs.folder import NOTE, find_run_folder
from simulator.errors import ScenarioError, StoreError, StoreUnavailableError

#: what the ledger does not decide: the registry's number, which a person may change in MLflow
_BESIDE = ("number",)

Place = tuple[str, str, int]


def expect_as_committed(folder: Path, workspace: Path) -> None:
    """Raise `StoreError` when a line of the export in `folder` is not what its run committed.

    Nothing is checked of a folder that is no run's, of a run whose stores are not those of `workspace` or do not have
    it any more, and of an export that another version of ebbdoor wrote: `ebbdoor report` writes it anew.
    """
    if not (folder / NOTE).is_file() or not (workspace / "mlflow.db").is_file():
        return
    try:
        place = find_run_folder(str(folder), workspace)
    except ScenarioError:
        return
    if place.tracking_uri is not None or place.workspace != workspace.resolve() or not _is_of_this_version(folder):
        return
    committed = _committed(place.open_stores()[1], place.run)
    for line in (folder / "periods.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        known = committed.get(_place(row))
        differs = [] if known is None else [key for key in {**row, **known} if row.get(key) != known.get(key)]
        if any(key not in _BESIDE for key in differs):
            raise StoreError(
                f"expected period {row['period']} of '{row['arm']}' in '{folder / 'periods.jsonl'}' to be as it was "
                f"committed, got another {', '.join(key for key in differs if key not in _BESIDE)}; write it anew with "
                f"`ebbdoor report {place.run}`"
            )


def _committed(ledger: Any, run: str) -> Mapping[Place, Mapping[str, Any]]:
    """Return the lines of a run by arm, control and period; none where the ledger does not have or give it."""
    from simulator.observer.rows import row_of

    try:
        head = ledger.head(run)
    except StoreUnavailableError:
        raise
    except StoreError:
        return {}
    return _by_place(row_of(entry) for key in head.lineages for entry in ledger.entries(key))


def _by_place(rows: Iterable[Mapping[str, Any]]) -> dict[Place, Mapping[str, Any]]:
    plain = [json.loads(json.dumps(row)) for row in rows]
    return {_place(row): row for row in plain}


def _place(row: Mapping[str, Any]) -> Place:
    return row["arm"], row.get("control", "none"), row["period"]


def _is_of_this_version(folder: Path) -> bool:
    try:
        summary = json.loads((folder / "summary.json").read_text("utf-8"))
        return bool(summary["environment"]["ebbdoor"] == version("ebbdoor"))
    except (OSError, ValueError, LookupError, TypeError):
        return False  # whoever reads it says what is wrong
