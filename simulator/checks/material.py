"""Small made-up images, labels and models to check plug-ins on."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from simulator.seeds import generator


@dataclass(frozen=True, slots=True)
class Case:
    """Images of one shape: grey or coloured, square or not, with an even or an odd number of classes."""

    channels: int
    height: int
    width: int
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    def __str__(self) -> str:
        return f"{self.channels} x {self.height} x {self.width} images of {self.classes} classes"


#: from the smallest images a source may have
CASES = (Case(1, 8, 8, 10), Case(3, 12, 10, 7))
#: the most classes, of coloured images
LARGEST = Case(3, 8, 8, 26)
#: for what depends on shapes alone: every pair of 1 or 3 channels and 10 or 26 classes, too
MATRIX = (*CASES, Case(1, 8, 8, 26), Case(3, 8, 8, 10), LARGEST)


def stream(seed: int = 0) -> torch.Generator:
    """Return a seeded generator, the same for the same `seed`."""
    return generator(seed, "conformance")


def labels_of(case: Case, rows: int) -> Tensor:
    """Return labels int64 (rows,) in which every class occurs equally often, give or take one."""
    return torch.arange(rows) % case.classes


def images_of(case: Case, rows: int, seed: int = 0) -> Tensor:
    """Return images float32 (rows, C, H, W) in [0, 1]: a pattern for each class of `labels_of`, and noise over it."""
    patterns = torch.rand(case.classes, *case.shape, generator=stream(-1))
    noise = torch.rand(rows, *case.shape, generator=stream(seed))
    return 0.7 * patterns[labels_of(case, rows)] + 0.3 * noise


def model_of(case: Case) -> nn.Module:
    """Return a tiny convolutional network in eval mode, trained until it tells the classes of `images_of` apart."""
    return copy.deepcopy(_trained(case))


@cache
def _trained(case: Case) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(case.channels, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(128, case.classes),
        )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    images, labels = images_of(case, 100, seed=1), labels_of(case, 100)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval()
