"""The two tables of a study as files: CSV, and Parquet with types; the same rows in the same order."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from simulator.errors import StoreError
from simulator.study.changed_column import Changed, with_changed_code
from simulator.study.rows import period_rows, timeline_rows
from simulator.study.timelines import PlayedTimeline
from simulator.system.files import write_whole

Row = Mapping[str, Any]
Values = list[Any]

#: name -> what it holds
TABLES = {
    "timelines": "one row a timeline: survival, first and last readings, alarms, seconds",
    "periods": "one row a timeline, lineage and period: what was done, and every reading",
}


def write_tables(
    folder: Path, played: Sequence[PlayedTimeline], changed: Changed = MappingProxyType({})
) -> dict[str, Path]:
    """Write `timelines` and `periods` as `.csv` and `.parquet` into `folder`; return their paths by file name.

    Rows are in the order of `played`. Numbers are written so that they read back bit for bit; booleans are `true` and
    `false`, an empty cell is null. Where some timeline is in `changed`, both have a last column `changed_code`. Each
    file is written whole or not at all. Raises `StoreError` without a timeline and `StoreUnavailableError` when the
    folder cannot be written.
    """
    if not played:
        raise StoreError("expected at least one played timeline, got none; play the study first")
    tables = {"timelines": timeline_rows(played), "periods": period_rows(played)}
    paths = {}
    for name, rows in tables.items():
        columns = _columns(with_changed_code(rows, changed))
        paths[f"{name}.csv"] = write_whole(folder / f"{name}.csv", partial(_write_csv, columns))
        paths[f"{name}.parquet"] = write_whole(folder / f"{name}.parquet", partial(_write_parquet, columns))
    return paths


def read_table(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of the table `name` that `write_tables` wrote into `folder`, with None for null."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table as read

    path = folder / f"{name}.parquet"
    try:
        rows: list[dict[str, Any]] = read(path).to_pylist()
    except (OSError, ArrowException) as error:
        raise StoreError(
            f"expected '{path}' to be a table of a study, got {type(error).__name__}; "
            "play the study, or go on with it: `ebbdoor study` writes its tables"
        ) from error
    return rows


def digests_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the tables' files in a study's folder, by file name."""
    names = [f"{name}.{ending}" for name in TABLES for ending in ("csv", "parquet")]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def expect_sealed(folder: Path, noted: Any) -> None:
    """Raise `StoreError` when a table is not as it was written; `noted`: its digests. Earlier versions noted none."""
    if noted is None:
        return
    known = noted if isinstance(noted, Mapping) else {}
    try:
        found = digests_of(folder)
    except OSError as error:
        raise StoreError(
            f"expected the tables of a study in '{folder}', got {error}; write them anew with `ebbdoor study`"
        ) from error
    for name, digest in found.items():
        if known.get(name) != digest:
            raise StoreError(
                f"expected '{folder / name}' to be as ebbdoor wrote it, got one that was changed; "
                "write it anew with `ebbdoor study`, or restore it"
            )


def _columns(rows: Sequence[Row]) -> dict[str, Values]:
    """Return the table by columns; one that holds texts and other values holds texts only."""
    names = rows[0] if rows else ()  # there is no period where training diverged in every base
    columns = {name: [row[name] for row in rows] for name in names}
    return {name: _alike(values) for name, values in columns.items()}


def _alike(values: Values) -> Values:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and float in kinds:
        return [None if value is None else float(value) for value in values]
    if len(kinds) > 1:
        return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return values


def _write_csv(columns: Mapping[str, Values], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(value) for value in row] for row in zip(*columns.values(), strict=True))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _write_parquet(columns: Mapping[str, Values], path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    table = pyarrow.table(dict(columns))
    for place, field in enumerate(table.schema):
        if pyarrow.types.is_null(field.type):  # without any value: of numbers, as CSV readers take it
            table = table.set_column(place, field.name, table[place].cast(pyarrow.float64()))
    write_table(table, path)
