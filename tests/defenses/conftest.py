"""Small real models with and without a planted patch backdoor, trained here in a few seconds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.base import Context, Rows
from simulator.batch import Batch
from simulator.production.training.features import feature_layer
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use
from simulator.world.sources.fashion_mnist import FashionMnist

TARGET = 3
ARCHITECTURE = {"network": {"use": "standard-cnn"}, "channels": 1, "size": [28, 28], "classes": 10}


@dataclass(frozen=True)
class Lab:
    """A trained model, what it was trained on, who of those rows is poison, and images it has not seen."""

    model: nn.Module
    window: Batch
    poison: Tensor
    trusted: Batch
    test: Batch

    def context(self, *, incoming: Tensor | None = None, window: Batch | None = None, seed: int = 0) -> Context:
        """A context as the platform makes it, on a copy of the model."""
        rows = self.window if window is None else window
        return Context(
            model=copy.deepcopy(self.model),
            feature_layer=feature_layer(self.model),
            classes=10,
            device=torch.device("cpu"),
            trusted=Rows(self.trusted.images.clone(), self.trusted.labels.clone()),
            generator=torch.Generator().manual_seed(seed),
            window=Rows(rows.images.clone(), rows.labels.clone()),
            incoming=incoming,
        )

    def accuracy(self, model: nn.Module | None = None) -> float:
        """Share of test images classified rightly."""
        return float((_predict(model or self.model, self.test.images) == self.test.labels).float().mean())

    def attack_success(self, model: nn.Module | None = None) -> float:
        """Share of stamped test images of other classes that are given the target."""
        others = self.test.images[self.test.labels != TARGET]
        return float((_predict(model or self.model, stamp(others)) == TARGET).float().mean())


def stamp(images: Tensor) -> Tensor:
    """Put a white 3 x 3 patch in the lower right corner of copies of `images`."""
    stamped = images.clone()
    stamped[:, :, 25:, 25:] = 1.0
    return stamped


@pytest.fixture(scope="session")
def poisoned() -> Lab:
    """3,000 rows, 5 % of them poison."""
    return _lab(rate=0.05)


@pytest.fixture(scope="session")
def clean() -> Lab:
    """The same rows without poison."""
    return _lab(rate=0.0)


@pytest.fixture(scope="session")
def rows() -> Callable[[int, int, int], Batch]:
    """Rows of Fashion-MNIST: how many, from which place, of which part (0 train, 1 test)."""
    return _rows


@pytest.fixture(scope="session")
def tiny() -> tuple[nn.Module, Batch, Batch]:
    """An untrained model, a window of 60 rows and 40 trusted rows: enough where the decision does not matter."""
    return _network(), _rows(60, 0, 0), _rows(40, 100, 0)


def _lab(rate: float) -> Lab:
    window, poison = _rows(3000, 0, 0), torch.zeros(3000, dtype=torch.bool)
    if rate:
        eligible = (window.labels != TARGET).nonzero().flatten()
        draw = torch.randperm(len(eligible), generator=torch.Generator().manual_seed(1))
        poison[eligible[draw[: round(rate * 3000)]]] = True
        images, labels = window.images.clone(), window.labels.clone()
        images[poison], labels[poison] = stamp(images[poison]), TARGET
        window = Batch(images, labels, window.ids)
    return Lab(_train(window), window, poison, _rows(500, 30000, 0), _rows(1000, 0, 1))


def _train(window: Batch) -> nn.Module:
    model = _network().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=4 * 24)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        for some in torch.randperm(3000, generator=generator).split(128):
            optimizer.zero_grad()
            cross_entropy(model(window.images[some]), window.labels[some]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def _network() -> nn.Module:
    return build_network(Use(use="standard-cnn"), channels=1, size=(28, 28), classes=10, seed=0)


def _rows(count: int, first: int, part: int) -> Batch:
    data = _source()
    images, labels = ((data.images, data.labels), (data.test_images, data.test_labels))[part]
    place = slice(first, first + count)
    taken = torch.from_numpy(images[place].copy()).float() / 255
    return Batch(taken, torch.from_numpy(labels[place].copy()), torch.arange(first, first + count))


def _source():  # type: ignore[no-untyped-def]
    global _DATA
    if _DATA is None:
        _DATA = FashionMnist().load()
    return _DATA


_DATA = None


@torch.no_grad()
def _predict(model: nn.Module, images: Tensor) -> Tensor:
    return model(images).argmax(1)
