"""One timeline, whole: played into the study's folder, and read back from it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simulator.errors import StoreError
from simulator.memo import Memo, NoMemo
from simulator.production.registry.base import Entry
from simulator.production.registry.folder import FolderLedger
from simulator.production.registry.memory import MemoryRegistry
from simulator.run import open_run, play
from simulator.study.timelines import PlayedTimeline, Timeline

__all__ = ["Beside", "play_here", "play_timeline", "read_timeline", "timelines_folder"]

#: what is computed from a played timeline, beside its records: JSON values
Beside = Callable[[Timeline, Mapping[str, list[Entry]]], Mapping[str, Any]]

_BESIDE = "beside.json"


def play_here(timeline: Timeline, folder: Path, cache: Path | None) -> PlayedTimeline:
    """Play a timeline in this process as every executor does: with the shared cache, and with all columns beside it."""
    return play_timeline(timeline, folder, NoMemo(), beside=_nothing)


def play_timeline(timeline: Timeline, folder: Path, memo: Memo, *, beside: Beside) -> PlayedTimeline:
    """Play a timeline into the study's `folder`; one that was played half is begun anew.

    `beside.json` is written last: it makes the timeline complete. Raises `RunHeldError` while another process plays it.
    """
    place = timelines_folder(folder)
    ledger, registry = FolderLedger(place), MemoryRegistry()
    ledger.hold(timeline.name)
    try:
        _clear(place / timeline.name)
        began = time.monotonic()
        head = open_run(timeline.scenario, registry, ledger, timeline.name)
        entries = play(head, timeline.scenario, registry, ledger, processes=0)
        values = {**beside(timeline, entries), "seconds": round(time.monotonic() - began, 3)}
        _write(place / timeline.name / _BESIDE, values)
    finally:
        ledger.release()
    return PlayedTimeline(timeline, entries, values)


def read_timeline(folder: Path, timeline: Timeline) -> PlayedTimeline | None:
    """Return a complete timeline of the study's `folder`; None when it is not there or was played half.

    Raises `StoreError` when what is there was played from another scenario, or was changed.
    """
    path = timelines_folder(folder) / timeline.name / _BESIDE
    if not path.exists():
        return None
    ledger = FolderLedger(timelines_folder(folder))
    head = ledger.head(timeline.name)
    if head.scenario_digest != timeline.scenario.digest():
        raise StoreError(
            f"expected {path.parent} to be played from the scenario of '{timeline.setting}' at seed {timeline.seed}, "
            "got another; delete it, or choose another folder"
        )
    entries = {key.name: ledger.entries(key) for key in head.lines}
    if any(len(line) <= timeline.scenario.periods for line in entries.values()):
        return None
    return PlayedTimeline(timeline, entries, _read(path))


def timelines_folder(folder: Path) -> Path:
    """Return where the timelines of a study's folder lie."""
    return folder / "timelines"


def _nothing(timeline: Timeline, entries: Mapping[str, list[Entry]]) -> dict[str, Any]:
    return {}


def _clear(place: Path) -> None:
    """Remove what a killed process left of a timeline; its holder's note stays."""
    (place / _BESIDE).unlink(missing_ok=True)  # first: without it the timeline is not complete
    (place / "head.json").unlink(missing_ok=True)
    for line in place.iterdir():
        if line.is_dir():
            shutil.rmtree(line)


def _write(path: Path, values: Mapping[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(json.dumps(values, allow_nan=False))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"expected {path} to be writable, got {error}; free space or change the folder") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"expected {path} to hold JSON values, got {error}; delete its folder") from error
    if not isinstance(values, dict):
        raise StoreError(f"expected {path} to hold a mapping, got {type(values).__name__}; delete its folder")
    return values
