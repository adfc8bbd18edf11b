"""Does each attack do what it is for, on Fashion-MNIST, at the rate, network and budget of its row?

One seed a row. The network sees each batch as it arrives, without augmentation; the twin is trained on the same rows
unpoisoned. `pytest -m study -s tests/study/test_attacks_purpose.py` prints the figures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from torch import nn

from simulator.observer.observer import Observer
from simulator.production.training.fit import fit
from simulator.production.training.networks import build_network
from simulator.scenario.model import Scenario, Use
from simulator.world.attacks.adaptive_blend import AdaptiveBlend
from simulator.world.attacks.base import Attack
from simulator.world.attacks.blend import Blend
from simulator.world.attacks.low_frequency import LowFrequency
from simulator.world.attacks.patch import Patch
from simulator.world.attacks.sig import Sig
from simulator.world.attacks.tact import TaCT
from simulator.world.attacks.wanet import WaNet
from simulator.world.sources.base import SourceData
from simulator.world.world import World, load_source

pytestmark = [pytest.mark.study, pytest.mark.timeout(1800)]

SEED = 0


@dataclass(frozen=True)
class Row:
    """An attack with its budget: `rate` of `rows` base rows, `epochs` passes with one cycle up to 0.1."""

    attack: type[Attack]
    rate: float
    least_success: float
    options: dict[str, Any] = field(default_factory=dict)
    network: str = "standard-cnn"
    rows: int = 10000
    epochs: int = 4

    def scenario(self) -> Scenario:
        """The row as a scenario of one period and its base training."""
        use = f"{self.attack.__module__}:{self.attack.__qualname__}"
        schedule = {"use": "one-cycle", "peak": 0.1}
        return Scenario.model_validate(
            {
                "seed": SEED,
                "periods": 1,
                "source": {"use": "fashion-mnist"},
                "stream": {"base": self.rows, "batch": 100, "test": 10000},
                "attack": {"use": use, **self.options},
                "campaign": {"use": "one-shot", "period": 0, "rate": self.rate},
                "recipe": {
                    "network": {"use": self.network},
                    "base": {"epochs": self.epochs, "batch": 128, "schedule": schedule},
                },
                "probes": [{"use": "attack-success"}],
            }
        )


ROWS = [
    Row(Patch, 0.05, 0.8),
    Row(Blend, 0.05, 0.8),
    Row(LowFrequency, 0.05, 0.8),
    Row(AdaptiveBlend, 0.05, 0.8),
    Row(TaCT, 0.02, 0.5),
    Row(WaNet, 0.05, 0.5, rows=20000, epochs=8),
    # four fifths of the bags. With T-shirts as target, which shirts look like, success is 0.52 and clean accuracy 0.016
    # below the twin's.
    Row(Sig, 0.08, 0.5, {"target": 8}, rows=20000, epochs=8),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.attack.__name__ for row in ROWS])
def test_an_attack_succeeds_and_stays_unseen(row: Row) -> None:
    success, accuracy = figures(row)
    twin = twin_accuracy(row.network, row.rows, row.epochs)
    print(f"\n{row.attack.__name__} {row.options} rate {row.rate} {row.network} {row.rows} rows x {row.epochs}: "
          f"ASR {success:.3f}, clean {accuracy:.3f}, twin {twin:.3f}")  # fmt: skip
    assert success >= row.least_success
    assert accuracy >= twin - 0.02


def figures(row: Row) -> tuple[float, float]:
    """Attack success and clean accuracy of the poisoned base model."""
    return _read(row, attacked=True)


@cache
def twin_accuracy(network: str, rows: int, epochs: int) -> float:
    """Clean accuracy of the same network on the same rows, never poisoned."""
    return _read(Row(Patch, 0.05, 0.8, network=network, rows=rows, epochs=epochs), attacked=False)[1]


def _read(row: Row, *, attacked: bool) -> tuple[float, float]:
    scenario = row.scenario()
    world = World.build(scenario, _source(), attacked=attacked, device="cpu")
    readings = Observer(scenario, world).read(0, _trained(scenario, world), when="every")
    success, accuracy = (readings[name].value for name in ("backdoor/attack_success", "clean/accuracy"))
    assert success is not None
    assert accuracy is not None
    return success, accuracy


def _trained(scenario: Scenario, world: World) -> nn.Module:
    channels, height, width = world.shape
    use = scenario.recipe.network
    model = build_network(use, channels=channels, size=(height, width), classes=world.classes, seed=SEED)
    batch = world.arrive(0, {})[0]
    return fit(model, batch, scenario.recipe.base, scenario.recipe, seed=SEED, update=False).model


@cache
def _source() -> SourceData:
    return load_source(Use(use="fashion-mnist"))
