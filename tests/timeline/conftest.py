"""A scenario that plays in about a second: real data, a real network, every stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.production.registry.base import Entry, Ledger, Registry
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.run import open_run, play
from simulator.scenario.model import Scenario

MakeScenario = Callable[..., Scenario]
Played = dict[str, list[Entry]]

TINY: dict[str, Any] = {
    "name": "tiny",
    "periods": 3,
    "device": "cpu",
    "stream": {"base": 600, "batch": 200, "validation": 100, "relearning": 40, "test": 200},
    "drift": [{"use": "rotation", "degrees": 5}],
    "attack": {"use": "patch", "target": 0, "size": 4},
    "campaign": {"use": "one-shot", "rate": 0.1},
    "monitor": {"use": "mmd", "rows": 60, "permutations": 39},
    "recipe": {
        "base": {"epochs": 6, "batch": 32, "schedule": {"use": "one-cycle", "peak": 0.1}},
        "update": {"epochs": 1, "batch": 32},
    },
    "trusted": {"images": 60},
    "gate": {"use": "accuracy", "tolerance": 0.2},
    "probes": [
        {"use": "attack-success"},
        {"use": "dose", "images": 100, "halvings": 2},
        {"use": "relearning", "poisoned": 4, "epochs": 1},
    ],
}


@pytest.fixture
def tiny() -> MakeScenario:
    """Return the tiny scenario with top-level keys replaced."""

    def make(**keys: Any) -> Scenario:
        return Scenario.model_validate(TINY | keys)

    return make


def play_in_memory(scenario: Scenario, **options: Any) -> Played:
    """Play a scenario in this process with stores in memory, unless told otherwise."""
    registry: Registry = MemoryRegistry()
    ledger: Ledger = MemoryLedger()
    head = open_run(scenario, registry, ledger, "run")
    return play(head, scenario, registry, ledger, **({"processes": 0} | options))


def digests(played: Played) -> dict[str, list[str]]:
    """Return the SHA-256 of each canonical record by line."""
    return {name: [entry.sha256 for entry in entries] for name, entries in played.items()}
