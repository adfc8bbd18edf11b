"""Optimizers: a new one for every training, so that no momentum outlives a period.

The learning rate is the schedule's; it is set before every step. Of torch's three implementations the fused one was the
fastest or equal in every case measured on the CPU (ResNet-18: 6 ms a step against 12 to 51), and with float16 only it
steps without asking the device whether a gradient overflowed.

torch imports its compiler when the first optimizer is made: two seconds of processor time and 100 MB in every process,
and nothing here uses it. `eager` avoids that.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, final

import torch
from pydantic import Field
from torch import nn

from simulator.scenario.bounds import Bounded, NonNegative

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)


def eager(kind: type[Kind]) -> type[Kind]:
    """Return a subclass of the optimizer `kind` that does the same without importing torch's compiler.

    torch decorates three methods as not to be compiled, and the decorator imports the compiler; here they are
    undecorated, `step` still without gradients.
    """
    unmarked: dict[str, Any] = {
        name: inspect.unwrap(getattr(kind, name)) for name in ("add_param_group", "zero_grad", "step")
    }
    return type(kind.__name__, (kind,), {**unmarked, "step": torch.no_grad()(unmarked["step"])})


_EAGER_SGD, _EAGER_ADAMW = eager(torch.optim.SGD), eager(torch.optim.AdamW)


#: how much of an average is kept at each step
Decay = Annotated[float, Field(ge=0, lt=1)]


class OptimizerFactory(Bounded, ABC):
    """Makes a fresh optimizer."""

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimizer of `parameters`; its learning rate is set by the schedule."""


@final
@dataclass(frozen=True, kw_only=True)
class Sgd(OptimizerFactory):
    """Stochastic gradient descent with `momentum`; `weight_decay` is added to the gradient of every parameter.

    >>> weight = nn.Parameter(torch.tensor(1.0))
    >>> optimizer = Sgd(momentum=0.5, weight_decay=0.0).build([weight])
    >>> optimizer.param_groups[0]["lr"] = 0.1  # the schedule's
    >>> weight.grad = torch.tensor(2.0)
    >>> for _ in range(2):  # moves by 0.1 x 2, then by 0.1 x (0.5 x 2 + 2)
    ...     optimizer.step()
    >>> round(weight.item(), 3)
    0.5
    """

    momentum: Decay = 0.9
    weight_decay: NonNegative = 5e-4
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise ValueError("expected momentum to be above 0 with nesterov, got 0.0; raise it or leave nesterov out")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return _EAGER_SGD(
            parameters,
            lr=0.0,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
            fused=True,
        )


@final
@dataclass(frozen=True, kw_only=True)
class AdamW(OptimizerFactory):
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019); `beta1`, `beta2` are its two averages.

    >>> weight = nn.Parameter(torch.tensor(1.0))
    >>> optimizer = AdamW(weight_decay=0.0).build([weight])
    >>> optimizer.param_groups[0]["lr"] = 0.1  # the schedule's
    >>> weight.grad = torch.tensor(2.0)
    >>> optimizer.step()  # the first step is as long as the rate
    >>> round(weight.item(), 3)
    0.9
    """

    weight_decay: NonNegative = 0.01
    beta1: Decay = 0.9
    beta2: Decay = 0.999

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return _EAGER_ADAMW(
            parameters, lr=0.0, betas=(self.beta1, self.beta2), weight_decay=self.weight_decay, fused=True
        )
