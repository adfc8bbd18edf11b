"""How an attacker trains a surrogate: the platform's kind of network by a plain recipe, on the attacker's own rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.production.training.fit import fit
from simulator.production.training.networks import build_network
from simulator.scenario.model import Phase, Recipe, Scenario, Use
from simulator.seeds import seed_for
from simulator.world.attacks.surrogate import Teach

__all__ = ["teacher"]

#: rows of a step, and the highest learning rate of the one cycle
_BATCH, _PEAK = 128, 0.1


def teacher(scenario: Scenario, classes: int) -> Teach:
    """Return how attackers of `scenario` train networks of its kind: SGD, one cycle, neither drops nor changes rows.

    Initial weights and order of rows depend on the scenario's seed alone, and differ from the platform's.
    """

    def teach(images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
        channels, height, width = images.shape[1:]
        seed = seed_for(scenario.seed, "surrogate")
        network = build_network(
            scenario.recipe.network, channels=channels, size=(height, width), classes=classes, seed=seed
        )
        schedule = Use.model_validate({"use": "one-cycle", "peak": _PEAK})
        phase = Phase(epochs=epochs, batch=_BATCH, schedule=schedule)
        batch = Batch(images, labels, torch.arange(len(labels), device=labels.device))
        return fit(network, batch, phase, Recipe(), seed=seed, update=False).model.eval()

    return teach
