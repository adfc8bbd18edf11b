"""What the fault harnesses play: a small defended, attacked run of four periods, and what it is when undisturbed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.production.registry.base import Entry
    from simulator.scenario.model import Scenario

__all__ = ["LINES", "copy_template", "digests", "make_template", "scenario_file", "undisturbed", "values_of"]

#: A filter with its second look, a repair that changes a candidate, an inspector whose alarm makes the gate roll back,
#: and one that remembers and looks back.
TEXT = """
name: killed
periods: 3
device: cpu
stream: {base: 600, batch: 200, validation: 100, relearning: 100, test: 200}
drift: [{use: rotation, degrees: 5}]
attack: {use: patch, target: 0, size: 4}
campaign: {use: one-shot, rate: 0.1}
monitor: {use: mmd}
recipe:
  base: {epochs: 4, batch: 32, schedule: {use: one-cycle, peak: 0.1}}
  update: {epochs: 1, batch: 32}
trusted: {images: 60}
defenses:
  - {use: activation-clustering}
  - {use: scripted, surface: repair, script: {1: flag}}
  - {use: scripted, surface: inspector, script: {2: flag}}
  - {use: scripted, surface: inspector, remembers: true, back: 1}
gate: {use: accuracy, tolerance: 0.2}
probes: [{use: attack-success}]
"""
LINES = ("main", "main.twin")


def scenario_file(folder: Path, *, in_process: bool) -> Path:
    """Write the scenario. `in_process`: its defenses run beside it, which saves the start of two workers a run."""
    path = folder / ("beside.yaml" if in_process else "workers.yaml")
    path.write_text(f"{TEXT}in_process: {str(in_process).lower()}\n")
    return path


def values_of(path: Path) -> Scenario:
    """Return the scenario of a file."""
    from simulator.scenario.load import load_scenario

    return load_scenario(str(path))


def undisturbed(path: Path) -> dict[str, list[str]]:
    """Return the digests, by line, of the same run when it is played in memory and nobody disturbs it."""
    from simulator.loop.run import open_run, play
    from simulator.production.registry.memory import MemoryLedger, MemoryRegistry

    registry, ledger, values = MemoryRegistry(), MemoryLedger(), values_of(path)
    return digests(play(open_run(values, registry, ledger, "undisturbed"), values, registry, ledger, processes=0))


def digests(entries: Mapping[str, Sequence[Entry]]) -> dict[str, list[str]]:
    """Return the records' digests by line, apart from the run's name and the scenario's digest, which differ by run."""
    neutral = {"run": "", "scenario": ""}
    return {
        line: [entry.record.model_copy(update=neutral).digest() for entry in committed]
        for line, committed in entries.items()
    }


def make_template(folder: Path) -> Path:
    """Make a workspace with an empty MLflow schema, to be copied: making one takes seconds. It names no folder yet."""
    from simulator.production.registry.mlflow.client import Store

    folder.mkdir(parents=True)
    store = Store(f"sqlite:///{folder / 'mlflow.db'}")
    store.client.search_registered_models(max_results=1)
    return folder


def copy_template(template: Path, folder: Path) -> Path:
    """Make a workspace from the template."""
    folder.mkdir(parents=True)
    shutil.copyfile(template / "mlflow.db", folder / "mlflow.db")
    return folder
