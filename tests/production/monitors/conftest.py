"""Real images, a small fixed model, and the random states no monitor may touch."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from simulator.production.monitors.base import MonitorView


@pytest.fixture(scope="session")
def images() -> Tensor:
    """The first 20,000 images of embedded Fashion-MNIST, float32 (N, 1, 28, 28) in [0, 1]."""
    path = files("simulator") / "world" / "data" / "fashion-mnist" / "train-images-idx3-ubyte.gz"
    pixels = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16, count=20000 * 784)
    return torch.from_numpy(pixels.reshape(-1, 1, 28, 28).astype(np.float32) / 255)


@pytest.fixture(scope="session")
def model() -> nn.Module:
    """A fixed random convolutional network whose last layer is scaled up, so that its confidences vary."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=4), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.Flatten(), nn.Linear(64, 10)
        )
    with torch.no_grad():
        network[4].weight.mul_(40)
    return network.eval()


@pytest.fixture
def make_view(model: nn.Module) -> Callable[..., MonitorView]:
    """Makes a view of two sides, with the fixed model unless another is given."""

    def make(reference: Tensor, current: Tensor, *, seed: int = 0, champion: nn.Module = model) -> MonitorView:
        return MonitorView(reference, current, champion, "4", torch.Generator().manual_seed(seed), period=1)

    return make
