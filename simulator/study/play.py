"""One whole timeline: played into the study's folder, and read back from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from simulator.cache.store import Cache, FolderCache, cache_in
from simulator.errors import StoreError
from simulator.loop.run import lineages_of, open_run, play
from simulator.production.registry.base import going
from simulator.production.registry.folder import FolderLedger
from simulator.production.registry.locked import locked_folder
from simulator.production.registry.memory import MemoryRegistry
from simulator.study.formula_column import formula_beside
from simulator.study.timelines import PlayedTimeline, Timeline
from simulator.system.files import read_json, write_json

_BESIDE = "beside.json"


def play_here(timeline: Timeline, folder: Path, cache: Path | None) -> PlayedTimeline:
    """Play a timeline into the study's `folder`, in this process; one that was interrupted is begun anew.

    `cache` is the cache's folder (None: without). `beside.json`, with the formula's columns, is written last: it makes
    the timeline complete. Raises `RunHeldError` while another process plays the timeline.
    """
    timelines = timelines_folder(folder)
    registry, shared = MemoryRegistry(), cache_in(cache)
    with locked_folder(timelines, timeline.name, f"timeline '{timeline.name}'") as ledger:
        clear_interrupted(timelines / timeline.name, [key.name for key in lineages_of(timeline.scenario)])
        began = time.monotonic()
        head = open_run(timeline.scenario, registry, ledger, timeline.name)
        entries = play(head, timeline.scenario, registry, ledger, processes=0, cache=shared)
        seconds = round(time.monotonic() - began, 3)
        values = {**formula_beside(timeline), "seconds": seconds, "memo": _counts(shared)}
        write_json(timelines / timeline.name / _BESIDE, values)
        ended = ledger.ends()
    return PlayedTimeline(timeline, entries, values, ended)


def is_there(folder: Path, timeline: Timeline) -> bool:
    """Return whether the timeline was played into the study's `folder`; `read_timeline` checks it."""
    return (timelines_folder(folder) / timeline.name / _BESIDE).exists()


def read_timeline(folder: Path, timeline: Timeline) -> PlayedTimeline | None:
    """Return a complete timeline of the study's `folder`; None when it is not there or was interrupted.

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
    ended = ledger.ends()
    if any(len(periods) <= timeline.scenario.periods for periods in going(entries, ended).values()):
        return None
    return PlayedTimeline(timeline, entries, read_json(path), ended)


def timelines_folder(folder: Path) -> Path:
    """Return where the timelines of a study's folder lie."""
    return folder / "timelines"


def _counts(cache: Cache) -> dict[str, dict[str, int]]:
    """How many trainings and readings were found in the cache, and how many were computed."""
    counts = cache.counts if isinstance(cache, FolderCache) else {}
    return {kind: {"recalled": recalled, "computed": computed} for kind, (recalled, computed) in counts.items()}


def clear_interrupted(folder: Path, lineages: Sequence[str]) -> None:
    """Remove the records of a timeline that is not complete, but nothing that somebody else put there."""
    (folder / _BESIDE).unlink(missing_ok=True)  # first: without it the timeline is not complete
    (folder / "head.json").unlink(missing_ok=True)
    for name in lineages:  # before the periods: an end that is left over would be taken for one of the next playing
        (folder / name / "ended.json").unlink(missing_ok=True)
    for path in [path for name in lineages for path in (folder / name).glob("*.json")]:
        if path.stem.isdigit() or path.name.startswith("after-"):
            path.unlink(missing_ok=True)
