"""Checks of optimizers: they descend the same way every time, and a new one remembers nothing."""

from __future__ import annotations

import torch
from torch import nn

from simulator.checks.subject import Subject, expect, quiet, same


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
