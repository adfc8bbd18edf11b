"""Somebody else's drifts and attacks as the world calls them: under the guard, their answers checked as used."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from simulator.errors import PluginError, ScenarioError
from simulator.guard.call import Plugin, guarded
from simulator.guard.place import here
from simulator.guard.values import check_images, check_json, check_whole
from simulator.world.attacks.base import CLEAN, COVER, Attack, Poisoned
from simulator.world.attacks.surrogate import SurrogateView
from simulator.world.attacks.training import TrainingView
from simulator.world.campaign import Campaign, CampaignView
from simulator.world.drift import Drift

#: what an attack says of itself, beside what it does: all that the base class names
_FACTS = tuple(name for name, value in vars(Attack).items() if not (name.startswith("_") or callable(value)))
#: what a drift says of its course
_COURSE = ("step", "pattern", "at", "every")


def guarded_drift(plugin: Plugin, drift: Drift) -> Drift:
    """Return `drift`, under the guard if it is somebody else's."""
    return ForeignDrift(plugin, drift) if plugin.foreign else drift


def guarded_attack(plugin: Plugin, attack: Attack, classes: int) -> Attack:
    """Return `attack`, under the guard if it is somebody else's."""
    return ForeignAttack(plugin, attack, classes) if plugin.foreign else attack


def asked_rate(plugin: Plugin, campaign: Campaign, view: CampaignView) -> float:
    """Return the rate that `campaign` asks for; what it leaves in the view's state are JSON values."""
    with guarded(plugin, {}, seed=view.period):
        rate = campaign.rate(view)
    check_json(plugin, view.state, "a state")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise ScenarioError(
            f"expected {plugin.name} to give a rate in [0, 1] in period {view.period}, "
            f"got {rate!r:.40}; correct the campaign"
        )
    return float(rate)


@final
class ForeignDrift(Drift):
    """A drift that may raise, change its input or the process, or answer with anything."""

    def __init__(self, plugin: Plugin, wrapped: Drift) -> None:
        self._plugin = plugin
        self.wrapped = wrapped
        vars(self).update({name: value for name, value in vars(wrapped).items() if name in _COURSE})
        with guarded(plugin, {}):
            self._resamples, self._exact_counts = bool(wrapped.resamples), bool(wrapped.exact_counts)

    @property
    def resamples(self) -> bool:
        return self._resamples

    @property
    def exact_counts(self) -> bool:
        return self._exact_counts

    def magnitude(self, period: int) -> float:
        with guarded(self._plugin, {}, seed=period):
            found = self.wrapped.magnitude(period)
        if isinstance(found, bool) or not isinstance(found, int | float) or not _finite(found):
            raise PluginError(
                f"expected {self._plugin.name} to give a finite magnitude in period {period}, got {found!r:.40}; "
                "correct it"
            )
        return float(found)

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        with guarded(self._plugin, {"images": images}, seed=generator.initial_seed()):
            found = self.wrapped.apply(images, magnitude, generator)
        return check_images(self._plugin, found, images, "images", unit=False)

    def prior(self, shares: Tensor, magnitude: float) -> Tensor | None:
        with guarded(self._plugin, {"shares": shares}):
            found = self.wrapped.prior(shares, magnitude)
        if found is None:
            return None
        fits = isinstance(found, Tensor) and found.shape == shares.shape and found.is_floating_point()
        if not fits or not bool((found >= 0).all()) or not math.isclose(float(found.sum()), 1, abs_tol=1e-6):
            raise PluginError(
                f"expected {self._plugin.name} to give class shares of at least 0 that sum to 1, {tuple(shares.shape)}"
                f"{here()}, got others; correct it"
            )
        return found.to(shares.dtype)

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        with guarded(self._plugin, {}, passes=(ValueError,)):
            self.wrapped.check_fits(shape, classes)


@final
class ForeignAttack(Attack):
    """An attack that may raise, change its input or the process, or answer with anything."""

    def __init__(self, plugin: Plugin, wrapped: Attack, classes: int) -> None:
        self._plugin = plugin
        self._classes = classes
        self.wrapped = wrapped
        vars(self).update({name: getattr(wrapped, name) for name in _FACTS})

    def prepared(self, view: SurrogateView) -> Attack:
        with guarded(self._plugin, {"view": view}, seed=view.generator.initial_seed(), passes=(ValueError,)):
            found = self.wrapped.prepared(view)
        return self._rewrapped(found, "a prepared attack", self._classes)

    def for_classes(self, classes: int) -> Attack:
        with guarded(self._plugin, {}):
            found = self.wrapped.for_classes(classes)
        attack = self._rewrapped(found, f"an attack for {classes} classes", classes)
        attack.expect_one_goal_a_class()
        return attack

    def targets_of(self, labels: Tensor) -> Tensor:
        with guarded(self._plugin, {"labels": labels}):
            found = self.wrapped.targets_of(labels)
        return check_whole(self._plugin, found, len(labels), labels.dtype, labels.device, "targets", self._classes)

    def expect_one_goal_a_class(self) -> None:
        """Refuse an attack whose `targets` and `targets_of` differ: it is measured by one and poisons by the other."""
        said: object = (self.target,) * self._classes if self.targets is None else self.targets
        done = tuple(self.targets_of(torch.arange(self._classes)).tolist())
        if said != done:
            raise PluginError(
                f"expected targets of {self._plugin.name} to be what its targets_of gives for each class, "
                f"{done!r:.60}, got {said!r:.60}; set targets in for_classes"
            )

    def _rewrapped(self, found: object, what: str, classes: int) -> ForeignAttack:
        if not isinstance(found, Attack):
            raise PluginError(f"expected {self._plugin.name} to return {what}, got {type(found).__name__}; correct it")
        return ForeignAttack(self._plugin, found, classes)

    def train(self, view: TrainingView) -> nn.Module:
        shown = {"images": view.images, "labels": view.labels, "roles": view.roles}
        seed = view.generator.initial_seed()
        with guarded(self._plugin, shown, seed=seed, passes=(ValueError, NotImplementedError)):
            return self.wrapped.train(view)

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        shown = {"images": images, "labels": labels}
        with guarded(self._plugin, shown, seed=generator.initial_seed(), passes=(ValueError,)):
            found = self.wrapped.poison(images, labels, rate, generator)
        if not isinstance(found, Poisoned):
            raise PluginError(
                f"expected {self._plugin.name} to return a Poisoned{here()}, got {type(found).__name__}; correct it"
            )
        rows, device = len(labels), labels.device
        check_images(self._plugin, found.images, images, "images")
        check_whole(self._plugin, found.labels, rows, labels.dtype, device, "labels", self._classes)
        check_whole(self._plugin, found.roles, rows, torch.int8, device, "roles", COVER + 1)
        clean = found.roles == CLEAN
        if not torch.equal(found.images[clean], images[clean]) or not torch.equal(found.labels[clean], labels[clean]):
            raise PluginError(
                f"expected {self._plugin.name} to leave rows with the role clean as they are{here()}, got a change; "
                "give the rows that it changes another role"
            )
        return found

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        with guarded(self._plugin, {"images": images}):
            found = self.wrapped.stamp(images, opacity)
        return check_images(self._plugin, found, images, "stamped images")

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        with guarded(self._plugin, {}, passes=(ValueError,)):
            self.wrapped.check_fits(shape, classes)

    def named_classes(self) -> dict[str, tuple[int, ...]]:
        with guarded(self._plugin, {}):
            return self.wrapped.named_classes()

    def of_source(self, labels: Tensor) -> Tensor:
        with guarded(self._plugin, {"labels": labels}):
            found = self.wrapped.of_source(labels)
        return check_whole(self._plugin, found, len(labels), torch.bool, labels.device, "a mask", 2)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number that no float holds
        return False
