"""Play standard timelines under `numerics: portable` and compare the digests of their records with the noted ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final, final

from simulator.checks.portable.timelines import TIMELINES
from simulator.errors import ScenarioError

#: the SHA-256 of each record in the order of periods, by line (arm or twin)
Digests = Mapping[str, Sequence[str]]

#: packages on whose releases the order of a sum depends
PACKAGES: Final = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "llvmlite")
#: beside this module: what `ebbdoor numerics --format json` found where the digests were noted
NOTED: Final = "digests.json"


@final
@dataclass(frozen=True, slots=True)
class Played:
    """Digests of one timeline here, and what the libraries of the process that played it used."""

    digests: Digests
    sets: Sequence[Mapping[str, str]]


@final
@dataclass(frozen=True, slots=True)
class Compared:
    """Whether a timeline's records are the noted ones; `difference` says where they first are not."""

    timeline: str
    records: int
    difference: str | None

    @property
    def same(self) -> bool:
        """Whether each record has the same bits."""
        return self.difference is None


def noted() -> dict[str, Any]:
    """Return what is noted: `versions` of packages, and `digests` by timeline, line and period."""
    found: dict[str, Any] = json.loads((files("simulator.checks.portable") / NOTED).read_text("utf-8"))
    return found


def versions() -> dict[str, str]:
    """Return the release of each of `PACKAGES` here."""
    return {name: version(name) for name in PACKAGES}


def chosen(names: Iterable[str]) -> list[str]:
    """Return these timelines, all if none is named; raises `ScenarioError` for a name that is none."""
    wanted = list(dict.fromkeys(names)) or list(TIMELINES)
    for name in wanted:
        if name not in TIMELINES:
            raise ScenarioError(f"expected a standard timeline ({', '.join(TIMELINES)}), got '{name}'; correct it")
    return wanted


def play_portable(name: str) -> Played:
    """Play a standard timeline in a worker process, with stores in memory.

    Raises `ScenarioError` where `numerics: portable` cannot be had, as on a processor without AVX2.
    """
    from simulator.loop.run import open_run, play
    from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
    from simulator.scenario.model import Scenario
    from simulator.system.instructions import played_with

    scenario = Scenario.model_validate({"name": name, **TIMELINES[name]})
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, name)
    lines = play(head, scenario, registry, ledger, processes=1)
    entries = [entry for line in lines.values() for entry in line]
    return Played(
        {line: [entry.record.digest() for entry in periods] for line, periods in lines.items()},
        played_with(entry.metadata for entry in entries),
    )


def compared(name: str, expected: Digests, found: Digests) -> Compared:
    """Say in which period of which line the records of a timeline first differ from the expected ones."""
    records = sum(map(len, found.values()))
    for line in sorted(expected.keys() | found.keys()):
        one, other = expected.get(line, ()), found.get(line, ())
        for period in range(max(len(one), len(other))):
            wanted, got = (side[period][:12] if period < len(side) else "none" for side in (one, other))
            if wanted != got:
                told = f"line {line}, period {period}: expected {wanted}, got {got}"
                return Compared(name, records, told)
    return Compared(name, records, None)


def _unheard(share: float) -> None:
    """Nobody asked."""


def check_numerics(
    names: Sequence[str], say: Callable[[str], None], done: Callable[[float], None] = _unheard
) -> dict[str, Any]:
    """Play these standard timelines and return whether all give the noted bits, and what was found.

    `say` is told which is played, `done` the share of them that were.
    `versions` are those of this machine and of the noted records, where they differ: then other bits are no wonder.
    """
    stored, here = noted(), versions()
    played = {}
    for name in names:
        say(f"timeline {name}")
        played[name] = play_portable(name)
        done(len(played) / len(names))
    rows = [compared(name, stored["digests"].get(name, {}), one.digests) for name, one in played.items()]
    sets: list[Mapping[str, str]] = []
    for one in played.values():
        sets += [found for found in one.sets if found not in sets]
    return {
        "same": all(row.same for row in rows),
        "timelines": [
            {"timeline": row.timeline, "records": row.records, "same": row.same, "difference": row.difference}
            for row in rows
        ],
        "other_versions": {
            name: {"noted": stored["versions"].get(name), "here": here[name]}
            for name in PACKAGES
            if stored["versions"].get(name) != here[name]
        },
        "instruction_sets": [dict(found) for found in sets],
        "versions": here,
        "digests": {name: {line: list(each) for line, each in one.digests.items()} for name, one in played.items()},
    }
