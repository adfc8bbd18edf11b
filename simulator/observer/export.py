"""The run folder: `periods.jsonl`, `summary.json`, `scenario.yaml`, `report.html`. An export of the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from simulator.errors import StoreError
from simulator.observer.lives import with_present_lives
from simulator.observer.rows import DIVERGED, row_of, row_of_end
from simulator.observer.run_export import RunExport
from simulator.observer.seal import SEAL, check_seal, sealed
from simulator.observer.summary import Lineages, by_lineage, summarise
from simulator.production.registry.base import Entry
from simulator.records import LineageEnd
from simulator.system.files import write_whole


def export_of(
    scenario: Mapping[str, Any],
    entries: Mapping[Any, Sequence[Entry]],
    about: Mapping[str, Any] | None = None,
    ended: Sequence[LineageEnd] = (),
) -> RunExport:
    """Return the export of committed `entries` by lineage. `about`: JSON values such as environment and links.

    `ended`: the lineages whose training diverged.
    """
    lineages = by_lineage(entries)
    if not lineages and not ended:
        raise StoreError("expected at least one committed period of an arm, got none; run the scenario first")
    rows = [row_of(entry) for controls in lineages.values() for lineage in controls.values() for entry in lineage]
    return RunExport(dict(scenario), rows, summarise(entries, ended), {**_name(lineages, ended), **(about or {})})


def _name(lineages: Lineages, ended: Sequence[LineageEnd]) -> dict[str, Any]:
    """Return what names the run; without a committed period nothing says of which data it was."""
    if not lineages:
        return {"run": ended[0].run}
    first = next(iter(next(iter(lineages.values())).values()))[0].record
    return {"run": first.run, "scenario_digest": first.scenario, "source_digest": first.source}


def write_run(
    folder: str | Path,
    scenario: Mapping[str, Any],
    entries: Mapping[Any, Sequence[Entry]],
    about: Mapping[str, Any] | None = None,
    ended: Sequence[LineageEnd] = (),
) -> dict[str, Path]:
    """Write the four files of a run into `folder`, each whole or not at all, and return their paths by name."""
    from simulator.observer.report.html import report  # pulls in matplotlib and jinja2

    run = export_of(scenario, entries, about, ended)
    rows = [*run.rows, *map(row_of_end, ended)]
    texts = {
        "periods.jsonl": "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows),
        "scenario.yaml": yaml.safe_dump(dict(run.scenario), sort_keys=False, allow_unicode=True),
        "report.html": report(run),
    }
    summary = sealed({**run.about, **run.summary}, {name: texts[name] for name in ("periods.jsonl", "scenario.yaml")})
    texts["summary.json"] = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    return {name: write_whole(Path(folder) / name, text) for name, text in texts.items()}


def read_run(folder: str | Path) -> RunExport:
    """Return what `write_run` wrote (all but the report), or raise `StoreError` saying which file is bad."""
    path = Path(folder)
    texts = {name: _read(path / name) for name in ("periods.jsonl", "scenario.yaml")}
    lines = [_json(line, path / "periods.jsonl") for line in texts["periods.jsonl"].splitlines() if line]
    rows = [row for row in lines if row.get("action") != DIVERGED]  # the summary has them
    whole = _json(_read(path / "summary.json"), path / "summary.json")
    check_seal(path, whole, texts)
    try:
        scenario = yaml.safe_load(texts["scenario.yaml"])
    except yaml.YAMLError as error:
        raise StoreError(
            f"expected '{path / 'scenario.yaml'}' to be YAML, got {error}; export the run again"
        ) from error
    if not lines or "arms" not in whole or not isinstance(scenario, dict):
        raise StoreError(f"expected '{path}' to hold a whole run, got an empty or foreign file; export the run again")
    summary: dict[str, Any] = {
        key: whole[key] for key in ("threshold", "restricted_horizon", "arms", "diverged") if key in whole
    }
    about = {key: value for key, value in whole.items() if key not in {*summary, SEAL}}
    return _with_present_lives(RunExport(scenario, rows, summary, about))


def _with_present_lives(run: RunExport) -> RunExport:
    """Return a run whose summary says of each arm's backdoor what its readings say by today's definitions."""
    parts = {
        arm: with_present_lives(part, run.lineage(arm), run.lineage(arm, "paced"))
        for arm, part in run.summary["arms"].items()
    }
    return replace(run, summary={**run.summary, "arms": parts})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            f"expected '{path}' to be a file of a run, got {type(error).__name__}; give the folder a run was written to"
        ) from error


def _json(text: str, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise StoreError(f"expected '{path}' to hold JSON, got {error}; export the run again") from error
    if not isinstance(value, dict):
        raise StoreError(f"expected '{path}' to hold JSON objects, got {type(value).__name__}; export the run again")
    return value
