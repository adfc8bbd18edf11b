"""One timeline, whole: played into the study's folder, and read back from it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simulator.cache.store import Cache, FolderCache, cache_in
from simulator.errors import StoreError
from simulator.loop.run import open_run, play
from simulator.production.registry.base import Entry
from simulator.production.registry.folder import FolderLedger
from simulator.production.registry.locked import locked_folder
from simulator.production.registry.memory import MemoryRegistry
from simulator.study.formula_column import formula_beside
from simulator.study.timelines import PlayedTimeline, Timeline
from simulator.system.files import read_json, write_json

__all__ = ["Beside", "is_there", "play_here", "play_timeline", "read_timeline", "timelines_folder"]

#: what is computed from a played timeline, beside its records: JSON values
Beside = Callable[[Timeline, Mapping[str, list[Entry]]], Mapping[str, Any]]

_BESIDE = "beside.json"


def play_here(timeline: Timeline, folder: Path, cache: Path | None) -> PlayedTimeline:
    """Play a timeline in this process as every executor does: with the shared cache, and with all columns beside it."""
    return play_timeline(timeline, folder, cache_in(cache), beside=_columns)


def play_timeline(timeline: Timeline, folder: Path, cache: Cache, *, beside: Beside) -> PlayedTimeline:
    """Play a timeline into the study's `folder`; one that was played half is begun anew.

    `beside.json` is written last: it makes the timeline complete. Raises `RunHeldError` while another process plays it.
    """
    place = timelines_folder(folder)
    registry = MemoryRegistry()
    with locked_folder(place, timeline.name, f"timeline '{timeline.name}'") as ledger:
        _clear(place / timeline.name)
        began = time.monotonic()
        head = open_run(timeline.scenario, registry, ledger, timeline.name)
        entries = play(head, timeline.scenario, registry, ledger, processes=0, cache=cache)
        seconds = round(time.monotonic() - began, 3)
        values = {**beside(timeline, entries), "seconds": seconds, "memo": _counts(cache)}
        write_json(place / timeline.name / _BESIDE, values)
    return PlayedTimeline(timeline, entries, values)


def is_there(folder: Path, timeline: Timeline) -> bool:
    """Return whether the timeline was played into the study's `folder`; `read_timeline` says whether it is good."""
    return (timelines_folder(folder) / timeline.name / _BESIDE).exists()


def read_timeline(folder: Path, timeline: Timeline) -> PlayedTimeline | None:
    """Return a complete timeline of the study's `folder`; None when it is not there or was played half.

    Raises `StoreError` when what is there was played from another scenario, or was changed.
    """
    if not is_there(folder, timeline):
        return None
    path = timelines_folder(folder) / timeline.name / _BESIDE
    ledger = FolderLedger(timelines_folder(folder))
    head = ledger.head(timeline.name)
    if head.scenario_digest != timeline.scenario.digest():
        raise StoreError(
            f"expected {path.parent} to be played from the scenario of '{timeline.setting}' at seed {timeline.seed}, "
            "got another; delete it, or choose another folder"
        )
    entries = {key.name: ledger.entries(key) for key in head.lineages}
    if any(len(line) <= timeline.scenario.periods for line in entries.values()):
        return None
    return PlayedTimeline(timeline, entries, read_json(path))


def timelines_folder(folder: Path) -> Path:
    """Return where the timelines of a study's folder lie."""
    return folder / "timelines"


def _columns(timeline: Timeline, entries: Mapping[str, list[Entry]]) -> dict[str, Any]:
    """What the linear formula says of the timeline, for its table and for claims about the formula."""
    return formula_beside(timeline)


def _counts(cache: Cache) -> dict[str, dict[str, int]]:
    """How many trainings and readings were recalled, and how many computed."""
    counts = cache.counts if isinstance(cache, FolderCache) else {}
    return {kind: {"recalled": recalled, "computed": computed} for kind, (recalled, computed) in counts.items()}


def _clear(place: Path) -> None:
    """Remove what a killed process left of a timeline; its holder's note stays."""
    (place / _BESIDE).unlink(missing_ok=True)  # first: without it the timeline is not complete
    (place / "head.json").unlink(missing_ok=True)
    for line in place.iterdir():
        if line.is_dir():
            shutil.rmtree(line)
