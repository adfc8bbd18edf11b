"""A scenario that plays in about a second: real data, a real network, every stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.loop.events import Stage, Wrap, plain
from simulator.loop.run import open_run, play
from simulator.production.registry.base import Entry, Ledger, Registry
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.records import PeriodRecord
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


#: for the tests of who serves when: 8 by 8 images, and nothing is measured but clean accuracy
SMALL: dict[str, Any] = TINY | {
    "source": {"use": "digits"},
    "stream": {"base": 300, "batch": 60, "validation": 60, "relearning": 20, "test": 100},
    "drift": [],
    "attack": {"use": "patch", "target": 0, "size": 2},
    "monitor": {"use": "none"},
    "recipe": {
        "base": {"epochs": 3, "batch": 32, "schedule": {"use": "one-cycle", "peak": 0.1}},
        "update": {"epochs": 1, "batch": 32},
    },
    "trusted": {"images": 40},
    "gate": {"use": "none"},
    "probes": [],
}


class Opened:
    """A run of the small scenario, with stores in memory, played in steps as fresh processes would."""

    def __init__(self, **keys: Any) -> None:
        self.scenario = Scenario.model_validate(SMALL | keys)
        self.registry, self.ledger = MemoryRegistry(), MemoryLedger()
        self.head = open_run(self.scenario, self.registry, self.ledger, "run")

    def play(self, until: int | None = None, wrap: Wrap = plain) -> Played:
        """Play up to a period with hosts of its own: what they know comes from the ledger."""
        return play(self.head, self.scenario, self.registry, self.ledger, until=until, wrap=wrap, processes=0)

    def records(self, line: str = "main") -> list[PeriodRecord]:
        """The committed records of a line."""
        key = next(key for key in self.head.lineages if key.name == line)
        return [entry.record for entry in self.ledger.entries(key)]

    def aliases(self, line: str = "main") -> dict[str, int]:
        """What the aliases of a line name."""
        return self.registry.aliases(next(key for key in self.head.lineages if key.name == line))


class Stop(Exception):
    """Raised by a test where a process could be killed."""


def dies_after(stage: str, period: int, control: str) -> Wrap:
    """Wrap the stages so that a line dies right after one of them."""

    def wrap(name: str, function: Stage) -> Stage:
        def call(arm: str, of: str, now: int, **arguments: Any) -> dict[str, Any]:
            answer = function(arm, of, now, **arguments)
            if (name, now, of) == (stage, period, control):
                raise Stop
            return answer

        return call

    return wrap


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
