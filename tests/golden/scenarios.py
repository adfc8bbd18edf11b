"""The scenarios whose records are compared with those of earlier versions of the code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.loop.run import open_run, play
from simulator.production.registry.base import Entry
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.records import PeriodRecord
from simulator.scenario.load import load_scenario
from simulator.scenario.model import Scenario

__all__ = ["NAMES", "Digests", "Records", "differences", "digests", "played", "scenario"]

#: records by the name of their line (arm or twin), in the order of their periods
Records = dict[str, list[PeriodRecord]]
#: the SHA-256 of each of them
Digests = Mapping[str, list[str]]

_FILES = Path(__file__).parent / "scenario_files"

#: what makes a preset on Fashion-MNIST play in seconds: fewer rows, periods, epochs, resamples
_FASHION = (
    "device=cpu",
    "periods=2",
    "stream.base=600",
    "stream.batch=200",
    "stream.validation=100",
    "stream.relearning=40",
    "stream.test=200",
    "monitor={use: evidently, resamples: 39}",
    "recipe.base.epochs=2",
    "recipe.update.epochs=1",
    "trusted.images=60",
    "probes=[{use: attack-success}, {use: dose, images: 100}, {use: relearning, poisoned: 4, epochs: 2}]",
)
#: the arms and the network that the quickstart had when digests of its records were first stored
_ARMS = "arms={constant: {}, slanted-triangular: {recipe.update.schedule: {use: slanted-triangular, peak: 0.3}}}"
_PRESETS = {
    "quickstart": (*_FASHION, _ARMS, "recipe.network.use=standard-cnn"),
    "static": _FASHION,
    "persistent": _FASHION,
    "defended": (
        *_FASHION,
        "periods=1",
        "twins=[]",
        "defenses=[{use: activation-clustering, smallest: 8}, {use: fine-pruning, epochs: 2}, "
        "{use: neural-cleanse, steps: 5, restarts: 1}, {use: strip, overlays: 4}]",
    ),
    "digits": ("device=cpu", "periods=2", "recipe.base.epochs=4", "recipe.update.epochs=2"),
}
_OWN = ("decisions", "opponents")

NAMES = (*_PRESETS, *_OWN)


def scenario(name: str) -> Scenario:
    """Return the scenario `name`: a preset made small, or a file of `scenario_files/`."""
    if name in _PRESETS:
        return load_scenario(name, _PRESETS[name])
    return load_scenario(str(_FILES / f"{name}.yaml"))


def played(name: str, *, processes: int = 0, **options: Any) -> Records:
    """Return the records of scenario `name`, played with stores in memory; `options` are those of `play`."""
    wanted, registry, ledger = scenario(name), MemoryRegistry(), MemoryLedger()
    head = open_run(wanted, registry, ledger, "golden")
    entries = play(head, wanted, registry, ledger, processes=processes, **options)
    return {line: [_intact(entry) for entry in periods] for line, periods in entries.items()}


def digests(records: Records) -> Digests:
    """Return the SHA-256 of each record's canonical form."""
    return {line: [record.digest() for record in periods] for line, periods in records.items()}


def differences(name: str, expected: Digests, found: Digests) -> list[str]:
    """Say which periods of which lines of scenario `name` differ, or are on one side only."""
    told = []
    for line in sorted(expected.keys() | found.keys()):
        one, other = expected.get(line, []), found.get(line, [])
        for period in range(max(len(one), len(other))):
            wanted, got = (side[period][:12] if period < len(side) else "none" for side in (one, other))
            if wanted != got:
                told.append(f"scenario {name}, line {line}, period {period}: expected {wanted}, got {got}")
    return told


def _intact(entry: Entry) -> PeriodRecord:
    if entry.record.digest() != entry.sha256:
        raise ValueError(f"expected the digest of period {entry.record.period} to be {entry.sha256}, got another")
    return entry.record
