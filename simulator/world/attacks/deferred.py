"""A backdoor that is dormant when it is planted and that clean updates reactivate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.scenario.bounds import Count, Positive
from simulator.world.attacks.descent import batches, gradient, step
from simulator.world.attacks.durable import Durable
from simulator.world.attacks.training import TrainingView


@final
@dataclass(eq=False, kw_only=True)
class Deferred(Durable):
    """Deferred backdoor: planted by the platform's own training, then unlearned in the first `layers` layers alone.

    For `epochs` passes over the rows that are not poison, half of each minibatch is stamped and keeps its own labels;
    only the first `layers` layers with weights, counted from the input (a convolution and its BatchNorm are two), are
    trained, at the learning rate `rate`. The later layers keep the backdoor, and clean updates of all layers can undo
    what hides it.

    After "Deferred Backdoor Functionality Attacks on Deep Learning Models", arXiv 2411.14449: inject, then unlearn in a
    way that does not last. Deviation: which layers unlearn was chosen by experiment. A backdoor unlearned in the last
    layer or in the BatchNorm layers did not come back under updates of all layers; one unlearned in the first layer
    did, in part and for a while, and cost clean accuracy (docs/threat-model.md has the figures).

    >>> attack = Deferred(layers=1, trigger={"use": "patch", "size": 1})
    >>> attack.threat_model, attack.stamp(torch.zeros(1, 1, 8, 8))[0, 0, 7, 6:].tolist()
    ('controls-training', [0.0, 1.0])
    """

    layers: Count = 1
    epochs: Count = 2
    rate: Positive = 0.01

    def train_on(self, view: TrainingView, poison: Tensor, others: Tensor) -> nn.Module:
        """Plant, then unlearn; BatchNorm uses its running statistics and leaves them as they are."""
        model = view.fit(view.model, view.images, view.labels).eval()
        wanted = {id(parameter) for parameter in _first(model, self.layers)}
        optimizer = torch.optim.SGD(model.parameters(), lr=self.rate, momentum=0.9)
        for part in batches(view, others, self.epochs):
            half = len(part) // 2
            images = view.images[part]
            images = view.augmented(torch.cat([self.stamp(images[:half]), images[half:]]))
            loss = functional.cross_entropy(model(images), view.labels[part])
            found = gradient(model, loss)
            only = [
                value if id(parameter) in wanted else torch.zeros_like(value)
                for parameter, value in zip(model.parameters(), found, strict=True)
            ]
            step(view, model, optimizer, only, self.rate, len(part))
        return model


def _first(model: nn.Module, layers: int) -> list[nn.Parameter]:
    """Return the parameters of the first `layers` modules that have some of their own."""
    found = [own for module in model.modules() if (own := list(module.parameters(recurse=False)))]
    return [parameter for own in found[:layers] for parameter in own]
