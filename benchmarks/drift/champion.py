"""A champion trained once, and images that it was not trained on, as it sees them under a drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.production.monitors.base import MonitorView
from simulator.production.monitors.inputs import forward
from simulator.production.training.features import feature_layer
from simulator.production.training.fit import fit
from simulator.production.training.networks import build_network
from simulator.scenario.model import Recipe, Use
from simulator.seeds import generator
from simulator.world.drift import Drift
from simulator.world.sampling import class_counts, drawn_classes, shuffled, take_classes
from simulator.world.world import load_source

Rows = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows to train on, rows to draw from (fewer if there are fewer), rows of a reference and of a batch."""

    base: int
    pool: int
    reference: int
    batch: int


SIZES = {"digits": Sizes(400, 1100, 200, 120)}
USUAL = Sizes(6000, 12000, 500, 1000)


@final
@dataclass(frozen=True, slots=True)
class Champion:
    """`images` uint8 (N, C, H, W) and `labels` are the pool: rows that `model` was not trained on, without drift."""

    images: Tensor
    labels: Tensor
    model: nn.Module
    classes: int
    sizes: Sizes

    def drifted(self, drift: Drift, magnitude: float, seed: int) -> Tensor:
        """Return the pool's images (N, C, H, W) in [0, 1], changed by `magnitude`."""
        return drift.change(self.images.float() / 255, magnitude, generator(seed, "drift", str(magnitude)))

    def features(self, images: Tensor) -> Tensor:
        """Return the features (N, D), so that they are computed once for all draws and all monitors."""
        return forward(self.model, feature_layer(self.model), images)[1]

    def draw(self, drift: Drift, magnitude: float, seed: int) -> Rows:
        """Return the pool's rows of a reference and of a batch whose class shares drifted by `magnitude`."""
        random = generator(seed, "draw")
        rows = torch.randperm(len(self.labels), generator=random)
        first, rest = rows[: self.sizes.reference], rows[self.sizes.reference :]
        return first, self.batch(rest, drift, magnitude, random)

    def batch(self, rows: Tensor, drift: Drift, magnitude: float, random: torch.Generator) -> Tensor:
        """Return a batch drawn from `rows` without replacement."""
        rows = shuffled(rows, random)
        shares = class_counts(self.labels, self.classes).double() / len(self.labels)
        prior = drift.prior(shares, magnitude)
        if prior is None:
            return rows[: self.sizes.batch]
        counts = class_counts(drawn_classes(prior, self.sizes.batch, random), self.classes)
        return take_classes(rows, self.labels, counts)[0]

    def view(self, reference: Tensor, current: Tensor, seed: int) -> MonitorView:
        """Return what a monitor sees: images, or their features, of which it then computes the logits alone."""
        random = generator(seed, "monitor")
        if reference.ndim > 2:
            return MonitorView(reference, current, self.model, feature_layer(self.model), random, period=1)
        head = nn.Sequential(self.model.get_submodule(feature_layer(self.model)))
        return MonitorView(reference, current, head, "0", random, period=1)


def champion(source: str, options: dict[str, Any], seed: int, network: str = "standard-cnn") -> Champion:
    """Train a champion of the usual base recipe on rows of `source` drawn by `seed`; the rest are the pool."""
    sizes = SIZES.get(source, USUAL)
    use = "npz" if source == "cifar10" else source
    data = load_source(Use.model_validate({"use": use, **options}))
    order = torch.randperm(len(data.labels), generator=generator(seed, "rows"))[: sizes.base + sizes.pool]
    images, labels = torch.tensor(data.images)[order], torch.tensor(data.labels)[order]
    channels, height, width = data.shape
    model = build_network(Use(use=network), channels=channels, size=(height, width), classes=data.classes, seed=seed)
    recipe = Recipe()
    train = Batch(images[: sizes.base].float() / 255, labels[: sizes.base], torch.arange(sizes.base))
    trained = fit(model, train, recipe.base, recipe, seed=seed, update=False).model.eval()
    return Champion(images[sizes.base :], labels[sizes.base :], trained, data.classes, sizes)
