"""Seeded use of torch's global random state, which is put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generators of the CPU and of `device` inside the block; restore them after it.

    For code that cannot be handed a generator: initialisers and dropout.
    """
    place = torch.device("cpu") if device is None else device
    index = torch.cuda.current_device() if place.type == "cuda" and place.index is None else place.index
    with torch.random.fork_rng(devices=[index] if place.type == "cuda" else []):
        # Not torch.manual_seed: that would also seed the devices that are not restored.
        torch.default_generator.manual_seed(seed)
        if place.type == "cuda":
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
