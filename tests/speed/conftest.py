"""A timeline whose sizes all differ, so that a count says by itself what was counted; played once for all tests."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.loop.events import Stage
from simulator.loop.run import open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.scenario.model import Scenario

#: an arm alone, as the standard timeline has it; tests of stores and twins replace keys
COUNTED: dict[str, Any] = {
    "name": "counted",
    "periods": 4,
    "device": "cpu",
    "source": {"use": "fashion-mnist"},
    "stream": {"base": 300, "batch": 90, "validation": 50, "relearning": 10, "test": 110},
    "drift": [{"use": "counted_plugins:Darker"}],
    "attack": {"use": "patch", "target": 0, "size": 2},
    "campaign": {"use": "one-shot", "rate": 0.2},
    "monitor": {"use": "evidently"},
    "recipe": {
        "network": {"use": "counted_plugins:network"},
        "base": {"epochs": 20, "batch": 32, "schedule": {"use": "constant", "rate": 0.1}},
        "update": {"epochs": 2, "batch": 32},
    },
    "trusted": {"images": 40},
    "gate": {"use": "accuracy", "tolerance": 1.0},
    "probes": [{"use": "attack-success"}, {"use": "dose", "images": 63, "halvings": 3}],
    "twins": [],
}

#: counts by period
Counted = dict[int, Any]


@pytest.fixture(scope="module")
def counted() -> Iterator[Counted]:
    """What the loop did in every period of the timeline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parent)
        yield count(Scenario.model_validate(COUNTED))


def count(scenario: Scenario) -> Counted:
    """Play the scenario in this process and return the counts by period, each noted as the period ends."""
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "run")
    found: Counted = {}

    def wrap(name: str, function: Stage) -> Stage:
        def call(arm: str, control: str, period: int, **arguments: Any) -> dict[str, Any]:
            counts = sys.modules["counted_plugins"].COUNTS
            if name == "ingest":  # the first stage of a period
                counts.passes, counts.copies, counts.drifted = [], [], []
            counts.stage = name
            answer = function(arm, control, period, **arguments)
            counts.stage = f"after {name}"
            if name == "commit":
                found[period] = copy.copy(counts)
            return answer

        return call

    play(head, scenario, registry, ledger, processes=0, wrap=wrap)
    return found
