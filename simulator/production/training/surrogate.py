"""Surrogate training: an attacker trains the platform's kind of network by a plain recipe on rows of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.cache.store import NO_CACHE, Cache
from simulator.production.training.cached import cached_training
from simulator.production.training.job import Job
from simulator.production.training.networks import build_network
from simulator.production.update import fitted
from simulator.scenario.model import Phase, Recipe, Scenario, Use
from simulator.seeds import seed_for

#: rows of a step, and peak of the one-cycle schedule
_BATCH, _PEAK = 128, 0.1


def surrogate_trainer(
    scenario: Scenario, classes: int, cache: Cache = NO_CACHE
) -> Callable[[Tensor, Tensor, int], nn.Module]:
    """Return how attackers of `scenario` train a surrogate: (images, labels, epochs) -> network in eval mode.

    The scenario's network, SGD and a one-cycle schedule on all rows, without augmentation. Initial weights and order of
    rows depend on the scenario's seed alone, and differ from the platform's. From `cache` an arm, its twin and other
    runs get the same surrogate.
    """
    recipe = Recipe(network=scenario.recipe.network)
    seed = seed_for(scenario.seed, "surrogate")
    schedule = Use.model_validate({"use": "one-cycle", "peak": _PEAK})

    def train(images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
        channels, height, width = images.shape[1:]
        network = build_network(recipe.network, channels=channels, size=(height, width), classes=classes, seed=seed)
        phase = Phase(epochs=epochs, batch=_BATCH, schedule=schedule)
        rows = Batch(images, labels, torch.arange(len(labels), device=labels.device))
        job = Job(network.to(images.device), rows, phase, recipe, seed, update=False)
        about = {"network": recipe.network.model_dump(mode="json"), "trainer": "surrogate"}
        return cached_training(cache, job, fitted, about).model.eval()

    return train
