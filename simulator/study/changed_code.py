"""Code or data that were changed since timelines of a study's folder were played: refused, or accepted and noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from simulator.errors import ChangedCodeError, SourceError
from simulator.loop.changed_code import ACCEPT, named
from simulator.production.registry.base import RunHead
from simulator.production.registry.folder import FolderLedger
from simulator.scenario.identity import changes, code_of
from simulator.scenario.model import Scenario
from simulator.study.play import is_there, timelines_folder
from simulator.study.timelines import Timeline
from simulator.world.world import load_source

Found = dict[str, list[str]]


def changed_timelines(timelines: Sequence[Timeline], folder: Path) -> Found:
    """Return the complete timelines of `folder` that were played with other code or data: name -> what differs."""
    ledger = FolderLedger(timelines_folder(folder))
    there = [timeline for timeline in timelines if is_there(folder, timeline)]
    sources: dict[str, str | None] = {}
    found = {each.name: _differing(ledger.head(each.name), each.scenario, sources) for each in there}
    return {name: names for name, names in found.items() if names}


def expect_same(found: Mapping[str, Sequence[str]], folder: Path, *, accept: bool) -> None:
    """Raise `ChangedCodeError` when timelines were `found` that differ, unless told to `accept` them."""
    if found and not accept:
        names = {name for mine in found.values() for name in mine}
        raise ChangedCodeError(
            f"expected the timelines in {folder} to be played with the code and data that are here, got a change of "
            f"{named(names)} since {len(found)} of them; choose another folder (what has not changed is found in the "
            f"cache), put it back, or keep them with {ACCEPT}, which the study will say"
        )


def _differing(head: RunHead, scenario: Scenario, sources: dict[str, str | None]) -> list[str]:
    mine = list(changes(head.code, code_of(scenario))) if head.code else []
    use = scenario.source.model_dump_json()
    if use not in sources:
        sources[use] = None
        with suppress(SourceError):  # data that are gone cannot be compared, and nothing may be left to play
            sources[use] = load_source(scenario.source).digest
    differs = sources[use] not in (None, head.source_digest)
    return [*mine, *([f"the data of source {scenario.source.use}"] if differs else [])]
