"""Training: a model and a batch in, a trained copy out. `fit` trains to the end, `watch` looks after every step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.batch import Batch
from simulator.errors import DivergedError, PluginError
from simulator.guard.call import guarded
from simulator.production.training import augment
from simulator.production.training.cuda_graphs import (
    Recorder,
    Steps,
    recorded_or_not,
    recorder_for,
    set_rate,
    step_rates,
)
from simulator.production.training.device import (
    arithmetic,
    autocast,
    check_precision,
    gradient_scaler,
    layout_of,
    seeded,
)
from simulator.production.training.job import Plan, Trained
from simulator.production.training.modes import training_modes
from simulator.production.training.optimizers import OptimizerFactory
from simulator.scenario import catalog
from simulator.scenario.model import Phase, Recipe, Use
from simulator.seeds import generator, seed_for


def fit(model: nn.Module, batch: Batch, phase: Phase, recipe: Recipe, *, seed: int, update: bool) -> Trained:
    """Train a copy of `model` on `batch`, on the device the batch lies on; `model` itself is left alone.

    Cross-entropy; a fresh optimizer; the learning rate set at every step; rows shuffled anew each epoch. The last
    batch of an epoch may be smaller, but a single left-over row is dropped, because BatchNorm needs two.
    `recipe.frozen` and `recipe.batchnorm` hold for updates only (`update`); augmentation and precision always.
    The same arguments give the same bits on the CPU at one thread count, dropout included.

    Raises `ScenarioError` when there are fewer than two rows, when nothing is left to train, and for less
    than float32 outside CUDA; `DivergedError` when losses or weights are no longer finite.
    """
    check_precision(recipe.precision, batch.images.device)
    plan = Plan.of(len(batch), phase)
    recorder = recorder_for(batch.images.device, recipe, phase, plan)

    def train(recorder: Recorder | None) -> tuple[nn.Module, tuple[float, ...]]:
        trained = copy.deepcopy(model).to(batch.images.device)
        with (
            training_modes(trained, recipe, update=update) as parameters,
            seeded(seed_for(seed, "network"), batch.images.device),
            arithmetic(recipe.precision, batch.images.device),
        ):
            epochs = _epochs(trained, parameters, batch, phase, recipe, plan, seed, recorder=recorder)
            return trained, tuple(torch.stack(list(epochs)).tolist())

    trained, losses = recorded_or_not(recorder, train)
    check_finite(trained, losses)
    trained.zero_grad(set_to_none=True)  # the result carries no gradients of the last step
    return Trained(model=trained, samples=plan.used * phase.epochs, steps=plan.steps, losses=losses)


def watch(
    model: nn.Module,
    batch: Batch,
    phase: Phase,
    recipe: Recipe,
    *,
    seed: int,
    look: Callable[[nn.Module], bool],
) -> nn.Module:
    """Train a copy of `model` as `fit` does outside updates, calling `look` with it after every step; return it.

    Training ends where `look` returns True. `look` must leave the copy as it is, modes and random states included.
    Losses and weights may be infinite or NaN.
    """
    check_precision(recipe.precision, batch.images.device)
    plan = Plan.of(len(batch), phase)
    trained = copy.deepcopy(model).to(batch.images.device)
    with (
        training_modes(trained, recipe, update=False) as parameters,
        seeded(seed_for(seed, "network"), batch.images.device),
        arithmetic(recipe.precision, batch.images.device),
    ):
        for _ in _epochs(trained, parameters, batch, phase, recipe, plan, seed, look=look):
            pass
    return trained


def learning_rates(count: int, phase: Phase) -> tuple[float, ...]:
    """Return the learning rate of every step that `fit` makes on `count` rows; `ScenarioError` below two rows."""
    return Plan.of(count, phase).rates


def _epochs(
    model: nn.Module,
    parameters: list[nn.Parameter],
    batch: Batch,
    phase: Phase,
    recipe: Recipe,
    plan: Plan,
    seed: int,
    *,
    look: Callable[[nn.Module], bool] | None = None,
    recorder: Recorder | None = None,
) -> Iterator[Tensor]:
    """Train, yielding each epoch's mean loss on the device, without waiting for it. `look` as in `watch`."""
    device = batch.images.device
    optimizer = optimizer_of(phase.optimizer, parameters)
    scaler = gradient_scaler(recipe.precision, device)
    shuffle, augmentation = generator(seed, "order"), generator(seed, "augmentation")
    rates, layout = step_rates(plan.rates, device, recorder), layout_of(model)
    size, total = (batch.images.shape[2], batch.images.shape[3]), torch.zeros((), device=device)

    def step(rows: Tensor, rate: float | Tensor, shifts: Tensor | None, flips: Tensor | None) -> None:
        changes = augment.Plan(shifts, flips)
        images = changes.apply(batch.images.index_select(0, rows), rows).contiguous(memory_format=layout)
        with autocast(recipe.precision, device):
            loss = functional.cross_entropy(model(images), batch.labels[rows])
        _step(optimizer, scaler, loss, rate)
        total.add_(loss.detach() * len(rows))

    steps = Steps(step, phase.batch, recorder)
    for _ in range(phase.epochs):
        order = torch.randperm(len(batch), generator=shuffle)[: plan.used].to(device)
        changes = augment.draw(recipe.augmentation, len(batch), size, augmentation, device)
        total.zero_()
        for rows in order.split(phase.batch):
            steps(rows, next(rates), changes.shifts, changes.flips)
            if look is not None and look(model):
                return
        yield total / plan.used


def _step(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, loss: Tensor, rate: float | Tensor) -> None:
    set_rate(optimizer, rate)
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


def optimizer_of(use: Use, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the scenario's optimizer of `parameters`, or raise `PluginError`."""
    factory: OptimizerFactory = catalog.build("optimizers", use.use, use.options)
    plugin = catalog.plugin("optimizers", use.use)
    with guarded(plugin, {"parameters": dict(enumerate(parameters))}):
        found = factory.build(parameters)
    if not isinstance(found, torch.optim.Optimizer):
        raise PluginError(
            f"expected {plugin.name} to return a torch.optim.Optimizer, got {type(found).__name__}; correct it"
        )
    return found


def check_finite(model: nn.Module, losses: tuple[float, ...]) -> None:
    """Raise `DivergedError` when an epoch's loss or a weight is not finite."""
    for epoch, loss in enumerate(losses, start=1):
        if not math.isfinite(loss):
            raise DivergedError(
                f"expected training to stay finite, got a loss of {loss} in epoch {epoch} of {len(losses)}; "
                "lower the learning rate"
            )
    # One question for all weights: each answer waits for the device.
    if not bool(torch.stack([torch.isfinite(value).all() for value in model.state_dict().values()]).all()):
        raise DivergedError("expected training to stay finite, got NaN or infinite weights; lower the learning rate")
