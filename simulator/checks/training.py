"""Networks, optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from simulator.checks.material import CASES, Case, images_of
from simulator.checks.subject import Subject, expect, quiet, same
from simulator.production.training.networks import build_network, feature_layer
from simulator.production.training.schedules import Schedule, rates_of
from simulator.scenario.model import Use

_STEPS = (1, 2, 7, 100)


def takes_images_gives_logits(subject: Subject) -> None:
    """Images of 1 and 3 channels from 8 pixels become finite logits (N, classes); the last layer reads features."""
    for case in CASES:
        model = quiet(lambda: _network(subject, case))  # noqa: B023
        with torch.no_grad():
            logits = model(images_of(case, 4))
        fits = logits.shape == (4, case.classes) and bool(logits.isfinite().all())
        expect(fits, f"expected finite logits (4, {case.classes}) of {case}, got {tuple(logits.shape)}")
        feature_layer(model)


def same_seed_same_weights(subject: Subject) -> None:
    """The seed decides the weights, and nothing else does."""
    first, second, other = (_network(subject, CASES[0], seed) for seed in (0, 0, 1))
    expect(same(first, second), "expected the same weights from the same seed, got others")
    expect(not same(first, other), "expected other weights from another seed, got the same; draw them from torch")


def rates_are_rates(subject: Subject) -> None:
    """Every step of a training has a finite rate of at least 0; some step of it learns."""
    for steps in _STEPS:
        rates = _rates(subject, steps)
        valid = all(math.isfinite(rate) and rate >= 0 for rate in rates)
        expect(valid, f"expected finite rates of at least 0 over {steps} steps, got {rates}")
        expect(any(rate > 0 for rate in rates), f"expected a rate above 0 in some of {steps} steps, got none")


def schedule_has_no_memory(subject: Subject) -> None:
    """A step's rate depends on the step and the number of steps alone: asked backwards, it is the same."""
    schedule: Schedule = subject.make()
    forwards = [schedule.rate_at(step, 100) for step in range(100)]
    backwards = [schedule.rate_at(step, 100) for step in reversed(range(100))]
    expect(forwards == backwards[::-1], "expected the same rates asked backwards, got others; keep no state")


def optimizer_learns(subject: Subject) -> None:
    """At rate 0 a step changes nothing; at a small rate it goes downhill, the same way every time."""
    start = _descend(subject, 0.0)
    expect(same(start, torch.full((3,), 2.0)), f"expected no change at rate 0, got {start.tolist()}")
    first, second = _descend(subject, 0.01), _descend(subject, 0.01)
    expect(same(first, second), "expected the same steps every time, got others")
    expect(bool((first.abs() < 2).all()), f"expected weights nearer the minimum 0 than 2, got {first.tolist()}")


def optimizer_is_fresh(subject: Subject) -> None:
    """Every call makes a new optimizer with no memory of another's steps."""
    factory = subject.make()
    parameter = nn.Parameter(torch.ones(2))
    first = factory.build([parameter])
    parameter.grad = torch.ones(2)
    first.step()
    second = factory.build([parameter])
    expect(first is not second and not second.state, "expected a new optimizer without state, got one with memory")


def _network(subject: Subject, case: Case, seed: int = 0) -> nn.Module:
    use = Use.model_validate({**subject.given, "use": subject.use})
    size = (case.height, case.width)
    return build_network(use, channels=case.channels, size=size, classes=case.classes, seed=seed)


def _rates(subject: Subject, steps: int) -> tuple[float, ...]:
    schedule: Schedule = subject.make()
    return quiet(lambda: rates_of(schedule, steps))


def _descend(subject: Subject, rate: float) -> torch.Tensor:
    parameter = nn.Parameter(torch.full((3,), 2.0))
    optimizer = quiet(lambda: subject.make().build([parameter]))
    for _ in range(20):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        parameter.square().sum().backward()
        optimizer.step()
    return parameter.detach()


Checks = tuple[Callable[[Subject], None], ...]
NETWORKS: Checks = (takes_images_gives_logits, same_seed_same_weights)
OPTIMIZERS: Checks = (optimizer_learns, optimizer_is_fresh)
SCHEDULES: Checks = (rates_are_rates, schedule_has_no_memory)
