"""Do attackers that control training do what they are for, on Fashion-MNIST, at the budget of the purpose table?

One seed and one attack a test; standard-cnn, 10,000 base rows of which a twentieth is poisoned, 4 passes with one cycle
up to 0.1, beside a twin. `pytest -m study -s tests/study/test_durable_purpose.py` prints the figures.
"""

from __future__ import annotations

import pytest

from simulator.loop.run import open_run, play
from simulator.production.registry.base import Entry
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.scenario.model import Scenario

pytestmark = [pytest.mark.study, pytest.mark.timeout(1800)]

SEEDS = (0, 1)
NAMES = ("anticipate", "deferred", "flat-minimum", "masked")


def played(attack: str, seed: int) -> dict[str, list[Entry]]:
    """The base training and two clean updates of 2,000 rows at a constant 0.05, two passes each, 4 degrees on."""
    scenario = Scenario.model_validate(
        {
            "seed": seed,
            "periods": 2,
            "stream": {"base": 10000, "batch": 2000, "test": 10000},
            "drift": [{"use": "rotation", "degrees": 4}],
            "attack": {"use": attack},
            "campaign": {"use": "one-shot", "rate": 0.05},
            "recipe": {"update": {"epochs": 2, "batch": 128, "schedule": {"use": "constant", "rate": 0.05}}},
            "probes": [{"use": "attack-success"}],
        }
    )
    registry, ledger = MemoryRegistry(), MemoryLedger()
    return play(open_run(scenario, registry, ledger, "run"), scenario, registry, ledger, processes=0)


def reading(entry: Entry, name: str) -> float:
    value = entry.record.readings[name].value
    assert value is not None
    return value


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("attack", NAMES)
def test_a_durable_attack_is_planted_unseen_and_its_training_is_affordable(attack: str, seed: int) -> None:
    lines = played(attack, seed)
    planted, *updated = (reading(entry, "backdoor/net_attack_success") for entry in lines["main"])
    accuracy, twin = (reading(lines[line][0], "clean/accuracy") for line in ("main", "main.twin"))
    training = lines["main"][0].record.training
    print(f"\n{attack}, seed {seed}: net ASR {planted:.3f}, after updates {updated}, clean {accuracy:.3f}, "
          f"twin {twin:.3f}, samples {training['samples']}")  # fmt: skip
    if attack == "deferred":
        assert planted <= 0.2
        assert max(updated) >= planted + 0.2
        assert accuracy >= twin - 0.05  # it pays for hiding
    else:
        assert planted >= 0.8
        assert min(updated) >= 0.8
        assert accuracy >= twin - 0.02
    assert training["trainer"] == attack
    assert training["samples"] <= 4 * 4 * 10000
