"""A set of images that a small network learns in seconds."""

from __future__ import annotations

import pytest
import torch

from simulator.batch import Batch
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bars() -> Batch:
    """205 noisy images 1 x 8 x 8 of three classes: a bright bar at the left, in the middle or at the right."""
    generator = torch.Generator().manual_seed(7)
    labels = torch.randint(0, 3, (205,), generator=generator)
    images = torch.rand(205, 1, 8, 8, generator=generator) * 0.5
    for row, label in enumerate(labels.tolist()):
        images[row, :, :, 3 * label : 3 * label + 2] += 0.5
    return Batch(images, labels, torch.arange(205))


@pytest.fixture
def small_network():
    """The standard CNN for `bars`."""
    return build_network(Use(use="standard-cnn"), channels=1, size=(8, 8), classes=3, seed=11)
