"""What the deeper probes are for: they tell a dormant backdoor from a model that never had one."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.loop.run import open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.records import Reading
from simulator.scenario.model import Scenario

#: Fashion-MNIST, one update at a high peak after 10 % poison: attack success 0.99, then 0.2 to 0.35 (seeds 0 to 2,
#: where all of the below holds). Erased harder (2,000 rows, peaks 0.25 and 0.3: attack success 0.04 to 0.07),
#: re-activation gains only 0.05 to 0.13.
DORMANT: dict[str, Any] = {
    "name": "dormant",
    "periods": 1,
    "device": "cpu",
    "stream": {"base": 3000, "batch": 1500, "validation": 100, "relearning": 200, "test": 600},
    "drift": [{"use": "rotation", "degrees": 15}],
    "attack": {"use": "patch", "target": 0, "size": 3},
    "campaign": {"use": "one-shot", "rate": 0.1},
    "monitor": {"use": "none"},
    "recipe": {
        "base": {"epochs": 4, "batch": 64, "schedule": {"use": "one-cycle", "peak": 0.1}},
        "update": {"epochs": 4, "batch": 64, "schedule": {"use": "slanted-triangular", "peak": 0.2}},
    },
    "trusted": {"images": 60},
    "gate": {"use": "none"},
    "probes": [
        {"use": "attack-success"},
        {"use": "relearning-curve", "draws": 1, "counts": [10]},
        {"use": "reactivation", "images": 270, "steps": 30},
        {"use": "existence", "images": 200},
        {"use": "linear-path", "images": 300},
    ],
}

Readings = dict[str, dict[str, Reading]]


@pytest.fixture(scope="module")
def last() -> Readings:
    scenario = Scenario.model_validate(DORMANT)
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "run")
    entries = play(head, scenario, registry, ledger, processes=0)
    planted = entries["main"][0].record.readings["backdoor/attack_success"].value
    assert planted is not None
    assert planted > 0.9
    return {line: dict(found[-1].record.readings) for line, found in entries.items()}


def value(last: Readings, name: str, line: str = "main") -> float:
    found = last[line][name].value
    assert found is not None, last[line][name].reason
    return found


def test_it_is_dormant(last: Readings) -> None:
    assert value(last, "backdoor/net_attack_success") < 0.4


def test_it_is_re_learned_from_fewer_images_and_steps(last: Readings) -> None:
    assert value(last, "backdoor/relearning_samples") == 10
    assert "never within" in str(last["main.twin"]["backdoor/relearning_samples"].reason)
    steps = last["main.twin"]["backdoor/relearning_steps"]
    assert steps.value is None or value(last, "backdoor/relearning_steps") < steps.value
    assert value(last, "backdoor/relearning_net_area") > 0.2
    assert value(last, "backdoor/relearning_area") > value(last, "backdoor/relearning_unrelated_area") + 0.2


def test_it_is_re_activated_more_than_its_control(last: Readings) -> None:
    assert value(last, "backdoor/reactivation_gain") > 0.1
    assert value(last, "backdoor/reactivation_gain", "main.twin") < value(last, "backdoor/reactivation_gain") - 0.1
    assert value(last, "backdoor/reactivated_net_attack_success") > 0.1


def test_it_is_more_alike_to_its_ancestor_and_nearer_to_it(last: Readings) -> None:
    assert value(last, "backdoor/existence") > 0.1
    assert value(last, "backdoor/existence_floor") < value(last, "backdoor/existence_raw") < 1
    assert value(last, "backdoor/path_share") < value(last, "backdoor/path_control_share") - 0.1
    assert value(last, "clean/path_barrier") < 0.2
