"""How an attacker that controls training is let in: what it is shown, and what is taken from it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable
from typing import Any, final

import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.errors import DivergedError, PluginError, ScenarioError, text_of
from simulator.production.training.augment import draw
from simulator.production.training.device import laid_out_for, seeded
from simulator.production.training.fit import fit, learning_rates
from simulator.production.training.job import Job, Trained, Trainer
from simulator.production.training.optimizers import OptimizerFactory
from simulator.production.training.weights import load_into
from simulator.scenario import catalog
from simulator.scenario.identity import third_party
from simulator.scenario.model import Use
from simulator.seeds import generator, seed_for
from simulator.world.attacks.base import Attack
from simulator.world.attacks.training import TrainingView


@final
class AttackersTraining(Trainer):
    """Lets `attack`, named `use` in the scenario, train on rows whose `roles` int8 (N,) the world knows."""

    def __init__(self, attack: Attack, use: Use, roles: Tensor) -> None:
        self._attack = attack
        self._use = use
        self._roles = roles

    @property
    def name(self) -> str:
        return self._use.use

    @property
    def identity(self) -> dict[str, Any]:
        roles = hashlib.sha256(self._roles.cpu().numpy().tobytes()).hexdigest()
        code = third_party([("attacks", self._use)])
        return {"attack": self._use.model_dump(mode="json"), "roles": roles, "third_party": code}

    def train(self, job: Job) -> Trained:
        """Return the platform's network with the weights that the attacker gave it.

        Raises `PluginError` when it gave another architecture or training mode, `DivergedError` for weights that are
        not finite.
        """
        tally = _Tally()
        view = _view(job, self._roles.to(job.rows.images.device), tally)
        with seeded(seed_for(job.seed, "attacker", "network"), job.rows.images.device):
            found = self._asked(view)
        return Trained(_taken(self._use.use, found, job), *tally.told(), losses=())

    def _asked(self, view: TrainingView) -> nn.Module:
        try:
            return self._attack.train(view)
        except (ValueError, NotImplementedError) as error:
            raise PluginError(f"attack '{self._use.use}', while it trains: {text_of(error)}") from error


@final
class _Tally:
    """What the attacker's training says it has done."""

    def __init__(self) -> None:
        self._samples = 0
        self._steps = 0

    def count(self, samples: int, steps: int = 1) -> None:
        """Count optimizer steps that looked at `samples` images."""
        self._samples += samples
        self._steps += steps

    def told(self) -> tuple[int | None, int | None]:
        """Return samples and steps; None where nothing was told."""
        return (self._samples, self._steps) if self._steps else (None, None)


def _view(job: Job, roles: Tensor, tally: _Tally) -> TrainingView:
    phase, device = job.phase, job.rows.images.device
    random = generator(job.seed, "attacker")
    factory: OptimizerFactory = catalog.build("optimizers", phase.optimizer.use, phase.optimizer.options)
    fits = iter(range(2**31))

    def augmented(images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        changes = draw(job.recipe.augmentation, len(images), (height, width), random, device)
        return laid_out_for(job.start, changes.apply(images, torch.arange(len(images), device=device)))

    def own(model: nn.Module, images: Tensor, labels: Tensor) -> nn.Module:
        rows = Batch(images, labels, torch.arange(len(labels), device=labels.device))
        seed = seed_for(job.seed, "attacker", "fit", next(fits))
        done = fit(model, rows, phase, job.recipe, seed=seed, update=job.update)
        tally.count(done.samples or 0, done.steps or 0)
        return done.model

    def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return factory.build(parameters)

    return TrainingView(
        model=copy.deepcopy(job.start).to(device).eval(),
        images=job.rows.images,
        labels=job.rows.labels,
        roles=roles,
        update=job.update,
        epochs=phase.epochs,
        batch=phase.batch,
        rates=learning_rates(len(job.rows), phase),
        generator=random,
        optimizer=optimizer,
        augmented=augmented,
        fit=own,
        tell=tally.count,
    )


def _taken(use: str, found: nn.Module, job: Job) -> nn.Module:
    """Return a copy of what the job starts from with the weights of `found`; nothing else of it is kept."""
    if not isinstance(found, nn.Module) or type(found) is not type(job.start):
        raise PluginError(
            f"expected attack '{use}' to return the network it trained, a {type(job.start).__name__}, "
            f"got {type(found).__name__}; train view.model or a copy of it"
        )
    if any(module.training for module in found.modules()):
        raise PluginError(
            f"expected attack '{use}' to return a network in eval mode, got one in training mode; call eval() on it"
        )
    for name, value in found.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise DivergedError(
                f"attack '{use}': expected weight '{name}' to be finite, got NaN or infinity; lower the learning rate"
            )
    taken = copy.deepcopy(job.start).to(job.rows.images.device).eval()
    try:
        load_into(taken, {name: value.detach() for name, value in found.state_dict().items()})
    except ScenarioError as error:
        raise PluginError(f"attack '{use}': {text_of(error)}") from error
    return taken
