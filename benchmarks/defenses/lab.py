"""A model trained on a window with or without a planted patch, and what a defender and the observer have beside it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from benchmarks.defenses.past import Past
from defenses import base as contract
from simulator.batch import Batch
from simulator.production.training.features import feature_layer
from simulator.production.training.fit import fit, learning_rates
from simulator.production.training.networks import build_network
from simulator.scenario import catalog
from simulator.scenario.model import Recipe, Use
from simulator.seeds import generator
from simulator.world.attacks.base import POISON
from simulator.world.attacks.patch import Patch
from simulator.world.drift import Rotation
from simulator.world.sources.base import SourceData

#: share of the window that is poison
RATE = 0.05


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows of window, trusted images, a clean window that arrives later, test images; epochs, patch, rows an update."""

    window: int
    trusted: int
    fresh: int
    test: int
    epochs: int
    patch: int
    update: int = 500


SIZES = {"digits": Sizes(800, 300, 300, 300, 20, 2), "cifar10": Sizes(10000, 500, 2000, 1000, 12, 3)}
USUAL = Sizes(6000, 500, 2000, 1000, 6, 3)


@final
@dataclass(frozen=True, slots=True)
class Lab:
    """`model` was trained on `window` from `initial` by `recipe`; `poison` bool says which of its rows are poison.

    `trusted` and `fresh` are clean rows that it was not trained on, `test` those that the observer measures with.
    `past`: what a platform remembers of earlier periods; nothing, unless the model is one of a lineage.
    """

    model: nn.Module
    initial: nn.Module
    recipe: Recipe
    window: Batch
    poison: Tensor
    trusted: Batch
    fresh: Batch
    test: Batch
    attack: Patch
    classes: int
    seed: int
    past: Past = field(default_factory=Past)

    def context(self, **fields: Any) -> contract.Context:
        """Return what a defender has of the model, on copies; `fields` are further ones of the context."""
        return contract.Context(
            model=copy.deepcopy(self.model).eval(),
            feature_layer=feature_layer(self.model),
            classes=self.classes,
            device=torch.device("cpu"),
            trusted=rows(self.trusted),
            generator=generator(self.seed, "defense"),
            **self.past.fields(),
            **fields,
        )

    def training_context(self) -> contract.Context:
        """Return the context of a defense that trains in place of the platform, from the network as initialised."""
        phase = self.recipe.base
        built = catalog.build("optimizers", phase.optimizer.use, phase.optimizer.options)
        recipe = contract.Recipe(
            epochs=phase.epochs,
            batch=phase.batch,
            rates=learning_rates(len(self.window), phase),
            optimizer=lambda parameters: built.build(list(parameters)),
        )
        context = self.context(window=rows(self.window), recipe=recipe)
        return replace(context, model=copy.deepcopy(self.initial).train())

    def stamped(self) -> Tensor:
        """Return the test images of other classes than the target, stamped."""
        return self.attack.stamp(self.test.images[self.test.labels != self.attack.target])

    def accuracy(self, model: nn.Module) -> float:
        """Return the share of test images that `model` gets right."""
        return float((predicted(model, self.test.images) == self.test.labels).float().mean())

    def attack_success(self, model: nn.Module) -> float:
        """Return the share of `stamped` that `model` takes for the target."""
        return float((predicted(model, self.stamped()) == self.attack.target).float().mean())

    def drifted(self, degrees: float) -> Batch:
        """Return the fresh rows, turned."""
        turned = Rotation(sampling="plain").change(self.fresh.images, degrees, generator(self.seed, "drift"))
        return Batch(turned, self.fresh.labels, self.fresh.ids)


def rows(batch: Batch) -> contract.Rows:
    """Return copies of a batch's rows as a defense sees them."""
    return contract.Rows(batch.images.clone(), batch.labels.clone())


@torch.no_grad()
def predicted(model: nn.Module, images: Tensor) -> Tensor:
    """Return the predicted classes (N,)."""
    model.eval()
    return torch.cat([model(part).argmax(1) for part in images.split(500)])


def lab(data: SourceData, sizes: Sizes, network: str, seed: int, *, planted: bool) -> Lab:
    """Train a model of `network` on rows drawn by `seed`: the same rows, initial weights and target, planted or not."""
    channels, height, width = data.shape
    order = torch.randperm(len(data.labels), generator=generator(seed, "rows"))
    ends = [sizes.window, sizes.window + sizes.trusted, sizes.window + sizes.trusted + sizes.fresh]
    window, trusted, fresh = (batch_of(data.images, data.labels, part) for part in order.tensor_split(ends)[:3])
    test = batch_of(data.test_images, data.test_labels, torch.arange(min(sizes.test, len(data.test_labels))))
    attack = Patch(target=(3 * seed + 1) % data.classes, size=sizes.patch)
    poison = torch.zeros(len(window), dtype=torch.bool)
    if planted:
        found = attack.poison(window.images, window.labels, RATE, generator(seed, "poison"))
        window, poison = Batch(found.images, found.labels, window.ids), found.roles == POISON
    initial = build_network(Use(use=network), channels=channels, size=(height, width), classes=data.classes, seed=seed)
    plain = Recipe()
    recipe = plain.model_copy(update={"base": plain.base.model_copy(update={"epochs": sizes.epochs})})
    model = fit(initial, window, recipe.base, recipe, seed=seed, update=False).model.eval()
    return Lab(model, initial, recipe, window, poison, trusted, fresh, test, attack, data.classes, seed)


def batch_of(images: Any, labels: Any, chosen: Tensor) -> Batch:
    """Return the `chosen` rows of a source."""
    taken = chosen.numpy()
    return Batch(torch.from_numpy(images[taken]).float() / 255, torch.from_numpy(labels[taken]), chosen)
