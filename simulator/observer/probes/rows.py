"""Which test images a probe reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulator.observer.probes.base import ProbeView

__all__ = ["balanced_rows", "source_classes", "source_rows"]


def source_classes(view: ProbeView) -> tuple[int, ...]:
    """Return the classes over which attack success is measured."""
    return tuple(k for k in range(view.classes) if k != view.target) if view.sources is None else view.sources


def source_rows(view: ProbeView, images: int) -> Tensor:
    """Return `balanced_rows` over the source classes."""
    return balanced_rows(view.test.labels, source_classes(view), images)


def balanced_rows(labels: Tensor, classes: Sequence[int], images: int) -> Tensor:
    """Return the first rows of each of `classes`, about `images` in all and at least one a class that occurs."""
    quota = max(1, -(-images // len(classes)))
    parts = [(labels == k).nonzero().flatten()[:quota] for k in classes]
    return torch.cat(parts).sort().values
