"""One small example to try a defense on: a lineage of digits whose last update was poisoned, and its clean twin.

It is there to show a stranger what a defense does, in seconds. One seed of one small set proves nothing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache, partial
from typing import Final, final

import torch
from torch import Tensor, nn

from defenses.base import Defense, History, PastBatch, PastSignal, PastVersion, Rows
from simulator.batch import Batch
from simulator.production.training.fit import fit
from simulator.production.training.networks import build_network
from simulator.scenario.model import Phase, Recipe, Use
from simulator.seeds import generator
from simulator.world.attacks.base import POISON
from simulator.world.attacks.patch import Patch
from simulator.world.sources.digits import Digits

SEED: Final = 0
#: rows of the base training, of two clean updates, and of the last one, which is poisoned at `RATE`
SIZES: Final = (500, 150, 150, 400)
RATE: Final = 0.1
TRUSTED: Final = 200
CLASSES: Final = 10
#: the trigger: a patch of so many pixels a side, towards the class
PATCH, TARGET = 2, 1
BASE: Final = Phase(epochs=15, batch=32, schedule=Use.model_validate({"use": "one-cycle", "peak": 0.1}))
UPDATE: Final = Phase(epochs=8, batch=32, schedule=Use.model_validate({"use": "constant", "rate": 0.02}))


@final
@dataclass(frozen=True, slots=True)
class Example:
    """What is the same for both models: earlier versions and batches, trusted images, test images, the trigger.

    `windows` and `models` are those of the last update, by `planted` and `clean`; `poison` bool marks the planted
    window's poisoned rows. `versions` and `batches` are those before it, the first from the base training.
    """

    versions: tuple[nn.Module, ...]
    batches: tuple[Batch, ...]
    windows: dict[str, Batch]
    models: dict[str, nn.Module]
    poison: Tensor
    trusted: Batch
    test: Batch
    attack: Patch

    @property
    def stamped(self) -> Tensor:
        """The test images of other classes than the target, stamped."""
        return self.attack.stamp(self.test.images[self.test.labels != TARGET])

    def accuracy(self, model: nn.Module) -> float:
        """Return the share of test images that `model` gets right."""
        return float((predicted(model, self.test.images) == self.test.labels).float().mean())

    def attack_success(self, model: nn.Module) -> float:
        """Return the share of stamped images that `model` takes for the target."""
        return float((predicted(model, self.stamped) == TARGET).float().mean())

    def history(self, defense: Defense, period: int) -> History:
        """Return what the platform would remember before `period`, as far back as the defense's class says."""
        if not (defense.remembers or defense.versions_back or defense.periods_back):
            return History()
        versions = tuple(self._version(one, one >= period - defense.versions_back, period) for one in range(period))
        batches = tuple(self._batch(one, one >= period - defense.periods_back) for one in range(period))
        signals = tuple(PastSignal(one) for one in range(period + 1))
        return History(versions, batches, signals, champion=period - 1 if period else None)

    def _version(self, ordinal: int, near: bool, period: int) -> PastVersion:
        model = self.versions[ordinal]
        served, parent = (ordinal,), ordinal - 1 if ordinal else None
        correct = predicted(model, self.trusted.images) == self.trusted.labels
        load = partial(copy.deepcopy, model) if near else None
        return PastVersion(ordinal, parent, ordinal, served, float(correct.float().mean()), (), load)

    def _batch(self, period: int, near: bool) -> PastBatch:
        batch = self.batches[period]
        return PastBatch(period, partial(rows_of, batch, period, fresh=False) if near else None)


def rows_of(batch: Batch, period: int, *, fresh: bool = True) -> Rows:
    """Return copies of a batch's rows as a defense sees them."""
    count = len(batch)
    periods, new = torch.full((count,), period), torch.full((count,), fresh)
    return Rows(batch.images.clone(), batch.labels.clone(), periods, new)


@torch.no_grad()
def predicted(model: nn.Module, images: Tensor) -> Tensor:
    """Return the predicted classes int64 (N,)."""
    return torch.as_tensor(model.eval()(images).argmax(1))


@cache
def example() -> Example:
    """Train the lineage and return it: a few seconds, the same every time."""
    data = Digits(order="shuffled").load()
    order = torch.randperm(len(data.labels), generator=generator(SEED, "rows")).numpy()
    images, labels = torch.from_numpy(data.images[order]).float() / 255, torch.from_numpy(data.labels[order])
    parts = torch.arange(sum(SIZES) + TRUSTED).split([*SIZES, TRUSTED])
    *batches, last, trusted = (Batch(images[part], labels[part], part) for part in parts)
    attack = Patch(target=TARGET, size=PATCH)
    found = attack.poison(last.images, last.labels, RATE, generator(SEED, "poison"))
    windows = {"planted": Batch(found.images, found.labels, last.ids), "clean": last}
    versions = _lineage(batches)
    models = {name: _update(versions[-1], window, len(batches)) for name, window in windows.items()}
    test = torch.from_numpy(data.test_images).float() / 255, torch.from_numpy(data.test_labels)
    tested = Batch(*test, torch.arange(len(test[1])))
    return Example(tuple(versions), tuple(batches), windows, models, found.roles == POISON, trusted, tested, attack)


def _lineage(batches: list[Batch]) -> list[nn.Module]:
    """The base version, then one for each further batch."""
    blank = build_network(Use(use="compact-cnn"), channels=1, size=(8, 8), classes=CLASSES, seed=SEED)
    versions = [fit(blank, batches[0], BASE, Recipe(), seed=SEED, update=False).model.eval()]
    for period, batch in enumerate(batches[1:], start=1):
        versions.append(_update(versions[-1], batch, period))
    return versions


def _update(model: nn.Module, batch: Batch, period: int) -> nn.Module:
    return fit(model, batch, UPDATE, Recipe(), seed=SEED + period, update=True).model.eval()
