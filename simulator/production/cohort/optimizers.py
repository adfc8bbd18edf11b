"""Optimizers of stacked weights (K, ...), each member at its own learning rate. Tested against torch's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from simulator.production.training.optimizers import AdamW, OptimizerFactory, Sgd

#: `eps` of torch.optim.AdamW by default
_EPS = 1e-8


class StackedOptimizer(ABC):
    """Changes weights by their gradients."""

    @abstractmethod
    def step(self, rates: Tensor) -> None:
        """Take one step; `rates` float (K,), one a member, on the weights' device. Does not wait for the device."""


def stacked(factory: OptimizerFactory, weights: Sequence[Tensor]) -> StackedOptimizer | None:
    """Return the stacked form of an optimizer; None when there is none."""
    if isinstance(factory, Sgd):
        return StackedSgd(factory, weights)
    if isinstance(factory, AdamW):
        return StackedAdamW(factory, weights)
    return None


@final
class StackedSgd(StackedOptimizer):
    """`torch.optim.SGD` with momentum, weight decay and Nesterov's form."""

    def __init__(self, options: Sgd, weights: Sequence[Tensor]) -> None:
        self._options = options
        self._weights = list(weights)
        self._velocities: list[Tensor] = []

    @torch.no_grad()
    def step(self, rates: Tensor) -> None:
        options = self._options
        gradients = [_gradient(weight).add(weight, alpha=options.weight_decay) for weight in self._weights]
        if not self._velocities:
            self._velocities = [gradient.clone() for gradient in gradients]
        else:
            for velocity, gradient in zip(self._velocities, gradients, strict=True):
                velocity.mul_(options.momentum).add_(gradient)
        for weight, velocity, gradient in zip(self._weights, self._velocities, gradients, strict=True):
            move = gradient.add(velocity, alpha=options.momentum) if options.nesterov else velocity
            weight.sub_(_broadcast(rates, weight) * move)


@final
class StackedAdamW(StackedOptimizer):
    """`torch.optim.AdamW`."""

    def __init__(self, options: AdamW, weights: Sequence[Tensor]) -> None:
        self._options = options
        self._weights = list(weights)
        self._means = [torch.zeros_like(weight) for weight in self._weights]
        self._squares = [torch.zeros_like(weight) for weight in self._weights]
        # On the device, so that a step replayed as a CUDA graph counts it: simulator.production.training.cuda_graphs.
        self._steps = torch.zeros((), dtype=torch.float64, device=self._weights[0].device)

    @torch.no_grad()
    def step(self, rates: Tensor) -> None:
        options = self._options
        self._steps += 1
        first, second = (1 - torch.pow(beta, self._steps) for beta in (options.beta1, options.beta2))
        for weight, mean, square in zip(self._weights, self._means, self._squares, strict=True):
            rate, gradient = _broadcast(rates, weight), _gradient(weight)
            weight.mul_(1 - rate * options.weight_decay)
            mean.lerp_(gradient, 1 - options.beta1)
            square.mul_(options.beta2).addcmul_(gradient, gradient, value=1 - options.beta2)
            weight.sub_(rate / first * mean / (square.sqrt() / second.sqrt() + _EPS))


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return weight.grad


def _broadcast(rates: Tensor, weight: Tensor) -> Tensor:
    """Return the rates as (K, 1, ...), to be multiplied with a weight (K, ...)."""
    return rates.view(-1, *[1] * (weight.dim() - 1))
