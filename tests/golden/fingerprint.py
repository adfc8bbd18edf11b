"""What numbers a machine computes: processors differ in the last bit of a float, and records hold floats.

Nothing of the simulator is called here, so that a change of the simulator never looks like another machine.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version

import numpy as np
import torch
from torch import nn

__all__ = ["about", "key_of"]

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")


def about() -> dict[str, str]:
    """Return what the floats of a record depend on: package versions, the CPU's capability, and computed numbers."""
    return {
        **{name: version(name) for name in _PACKAGES},
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "step": _step(),
    }


def key_of(values: dict[str, str]) -> str:
    """Return the short name of such values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _step() -> str:
    """Return the SHA-256 of a network's weights after three seeded steps of training, and of a matrix decomposed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        numbers = [*_trained(), *_decomposed()]
    finally:
        torch.set_num_threads(threads)
    return hashlib.sha256(b"".join(array.tobytes() for array in numbers)).hexdigest()[:16]


def _trained() -> list[np.ndarray]:
    draw = torch.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 49, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(3):
        images = torch.rand(64, 1, 14, 14, generator=draw).to(memory_format=torch.channels_last)
        loss = nn.functional.cross_entropy(model(images), torch.randint(0, 10, (64,), generator=draw))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [value.detach().contiguous().numpy() for value in model.state_dict().values()]


def _decomposed() -> list[np.ndarray]:
    matrix = np.random.default_rng(0).standard_normal((60, 40))
    return [np.exp(-(matrix @ matrix.T) / 40), *np.linalg.svd(matrix)]
