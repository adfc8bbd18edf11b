"""Several trainings as one: what `fit` computes, for all members side by side."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.errors import DivergedError
from simulator.production.cohort.operations import NotStackable
from simulator.production.cohort.optimizers import StackedOptimizer, stacked
from simulator.production.cohort.stack import StackedNetwork
from simulator.production.training import augment
from simulator.production.training.cuda_graphs import Recorder, Steps, recorded_or_not, recorder_for
from simulator.production.training.device import arithmetic, autocast, check_precision
from simulator.production.training.fit import check_finite
from simulator.production.training.job import Job, Plan, Trained
from simulator.production.training.modes import training_modes
from simulator.scenario import catalog
from simulator.seeds import generator


def fit_together(jobs: Sequence[Job]) -> list[Trained | DivergedError]:
    """Do `jobs` of one `signature` in one stack; return what `fit` would have given for each, or raised.

    Each job keeps its own data, shuffles, augmentation and learning rates; only the order of floating-point sums
    differs from `fit`: in float32 weights agree to about 1e-4 after a short training, in float64 to 1e-10. Longer
    trainings amplify a difference as they amplify any rounding. Raises `NotStackable` before anything is trained, and
    `torch.OutOfMemoryError` where the device is too small.
    """
    first, device = jobs[0], jobs[0].rows.images.device
    check_precision(first.recipe.precision, device)
    if first.recipe.precision == "float16":
        raise NotStackable("each timeline scales its float16 losses by itself")
    plans = [Plan.of(len(job.rows), job.phase) for job in jobs]

    def train(recorder: Recorder | None) -> tuple[list[nn.Module], list[list[float]]]:
        models = [copy.deepcopy(job.start).to(device) for job in jobs]
        with arithmetic(first.recipe.precision, device), ExitStack() as modes:
            for model, job in zip(models, jobs, strict=True):
                modes.enter_context(training_modes(model, job.recipe, update=job.update))
            network = StackedNetwork(models)
            losses: list[list[float]] = torch.stack(list(_epochs(network, jobs, plans, recorder))).T.tolist()
            network.scatter()
        return models, losses

    models, losses = recorded_or_not(recorder_for(device, first.recipe, first.phase, plans[0]), train)
    return [_ended(*each) for each in zip(models, jobs, plans, losses, strict=True)]


def _ended(model: nn.Module, job: Job, plan: Plan, losses: list[float]) -> Trained | DivergedError:
    try:
        check_finite(model, tuple(losses))
    except DivergedError as error:
        return error
    return Trained(model, samples=plan.used * job.phase.epochs, steps=plan.steps, losses=tuple(losses))


def _epochs(
    network: StackedNetwork, jobs: Sequence[Job], plans: Sequence[Plan], recorder: Recorder | None
) -> Iterator[Tensor]:
    """Train, yielding each epoch's mean losses (K,) on the device, without waiting for it.

    The members' rows follow one another: row n of member k is row k * N + n.
    """
    first, device, count = jobs[0], jobs[0].rows.images.device, len(jobs[0].rows)
    images = torch.cat([job.rows.images for job in jobs])
    labels = torch.cat([job.rows.labels for job in jobs])
    shuffles = [generator(job.seed, "order") for job in jobs]
    augmentations = [generator(job.seed, "augmentation") for job in jobs]
    rates = iter(torch.tensor([plan.rates for plan in plans], dtype=images.dtype).T.contiguous().to(device))
    optimizer = _optimizer(first, network)
    used, size = plans[0].used, (images.shape[-2], images.shape[-1])
    before = (torch.arange(len(jobs)) * count)[:, None]
    total = torch.zeros(len(jobs), device=device, dtype=images.dtype)

    def step(rows: Tensor, rate: Tensor, shifts: Tensor | None, flips: Tensor | None) -> None:
        places = rows.flatten()
        shown = augment.Plan(shifts, flips).apply(images.index_select(0, places), places)
        with autocast(first.recipe.precision, device):
            answers = network(_side_by_side(shown, len(jobs)).contiguous(memory_format=network.layout))
            loss = _losses(answers, labels[rows])
        for weight in network.parameters.values():
            weight.grad = None
        loss.sum().backward()
        optimizer.step(rate)
        total.add_(loss.detach() * rows.shape[1])

    steps = Steps(step, first.phase.batch, recorder)
    for _ in range(first.phase.epochs):
        orders = torch.stack([torch.randperm(count, generator=shuffle)[:used] for shuffle in shuffles])
        changes = augment.joined(
            augment.draw(first.recipe.augmentation, count, size, drawn, device) for drawn in augmentations
        )
        total.zero_()
        for rows in (orders + before).to(device).split(first.phase.batch, dim=1):
            steps(rows, next(rates), changes.shifts, changes.flips)
        yield total / used


def _side_by_side(images: Tensor, members: int) -> Tensor:
    """Return images (K * B, C, H, W) of K members as (B, K * C, H, W)."""
    return images.view(members, -1, *images.shape[1:]).transpose(0, 1).flatten(1, 2)


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of each member, (K,), for `logits` (B, K, classes) and `labels` (K, B)."""
    rows, members, classes = logits.shape
    each = functional.cross_entropy(logits.reshape(-1, classes), labels.T.reshape(-1), reduction="none")
    return each.view(rows, members).mean(0)


def _optimizer(job: Job, network: StackedNetwork) -> StackedOptimizer:
    use = job.phase.optimizer
    found = stacked(catalog.build("optimizers", use.use, use.options), list(network.parameters.values()))
    if found is None:
        raise NotStackable(f"optimizer '{use.use}' has no stacked form")
    return found
