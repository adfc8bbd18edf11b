"""What an attacker with a surrogate model has: clean rows of its own, and a way to train a network on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

#: (images, labels, epochs) -> a freshly initialised network trained on them, in eval mode on the images' device.
#: The same arguments give the same network.
Teach = Callable[[Tensor, Tensor, int], nn.Module]

#: the option `surrogate_rows`; a minibatch of BatchNorm needs two rows
SurrogateRows = Annotated[int, Field(ge=2)]


@dataclass(frozen=True, slots=True)
class SurrogateView:
    """Given once to `Attack.prepared`, before anything is poisoned or stamped for measuring.

    `images` float32 (N, C, H, W) in [0, 1] and `labels` int64 (N,) are clean rows of period 0 as they arrive, at most
    `Attack.surrogate_rows`; `classes` is their number of classes. `generator` is a seeded CPU generator of the
    attack's own. `teach` trains a network of the kind that the platform uses, never the platform's own.
    """

    images: Tensor
    labels: Tensor
    classes: int
    generator: torch.Generator
    teach: Teach
