"""The model for which the formula is exact: linear, squared loss, Gaussian clean data, fine-tuned update after update.

Clean inputs have energy 1 in every direction but the trigger's, where they have `energy`; answers depend on the other
directions alone, so whatever the model holds along the trigger was planted there. Each update draws new clean data and
fine-tunes; the trigger weight should be multiplied by (1 - eta (s^2 + lambda))^S.

It differs from the formula by sampling only: the energy of N rows is known to a share of sqrt(2 / N), and their noise
leaves a trigger weight of about noise / sqrt(N) below which nothing can be read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LinearSetting", "trigger_weights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearSetting:
    """How the linear model is fine-tuned.

    `energy`: s^2 of clean data along the trigger; `decay`: weight decay added to the gradient; `rate`: learning rate;
    `steps` of gradient descent an update, on `samples` new rows in full or on mini-batches of `batch` rows drawn from
    them with replacement. `dimensions` of the input (at least 2); `noise`: standard deviation of the answers' noise.
    """

    energy: float
    rate: float
    steps: int
    decay: float = 0.0
    samples: int = 20_000
    batch: int | None = None
    dimensions: int = 16
    noise: float = 0.02

    def __post_init__(self) -> None:
        for name in ("energy", "rate", "decay", "noise"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"expected {name} to be a finite number of at least 0, got {value}; correct it")
        for name, least in {"steps": 1, "samples": 1, "batch": 1, "dimensions": 2}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"expected {name} to be at least {least}, got {value}; correct it")
        if self.rate * (max(1.0, self.energy) + self.decay) >= 2:
            raise ValueError(
                f"expected rate x (energy + decay) to be below 2 in every direction, got a rate of {self.rate}; "
                "gradient descent diverges there"
            )


def trigger_weights(setting: LinearSetting, updates: int, generator: torch.Generator) -> tuple[float, ...]:
    """Return the trigger weight a = u'w as planted (1.0) and after each of `updates` updates (at least 1).

    All randomness is the CPU `generator`'s; computed in float64.
    """
    if updates < 1:
        raise ValueError(f"expected updates to be at least 1, got {updates}; correct it")
    direction = _unit(_normal(generator, setting.dimensions))
    truth = _unit(_without(_normal(generator, setting.dimensions), direction))
    weights = truth + direction
    measured = [float(direction @ weights)]
    for _ in range(updates):
        inputs, answers = _clean(setting, direction, truth, generator)
        weights = _fine_tuned(setting, weights, inputs, answers, generator)
        measured.append(float(direction @ weights))
    return tuple(measured)


def _clean(
    setting: LinearSetting, direction: Tensor, truth: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Clean rows (N, D) and their answers (N,)."""
    along = math.sqrt(setting.energy) * _normal(generator, setting.samples)
    others = _without(_normal(generator, setting.samples, setting.dimensions), direction)
    inputs = others + along[:, None] * direction
    return inputs, inputs @ truth + setting.noise * _normal(generator, setting.samples)


def _fine_tuned(
    setting: LinearSetting, weights: Tensor, inputs: Tensor, answers: Tensor, generator: torch.Generator
) -> Tensor:
    """Gradient descent on half the mean squared error plus decay / 2 times the squared norm of the weights."""
    if setting.batch is None:
        moments, pull = _moments(inputs, answers)
        for _ in range(setting.steps):
            weights = weights - setting.rate * (moments @ weights - pull + setting.decay * weights)
        return weights
    for _ in range(setting.steps):
        rows = torch.randint(len(inputs), (setting.batch,), generator=generator)
        moments, pull = _moments(inputs[rows], answers[rows])
        weights = weights - setting.rate * (moments @ weights - pull + setting.decay * weights)
    return weights


def _moments(inputs: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    return inputs.T @ inputs / len(inputs), inputs.T @ answers / len(inputs)


def _without(vectors: Tensor, direction: Tensor) -> Tensor:
    """`vectors` (..., D) without their part along `direction`."""
    rest: Tensor = vectors - (vectors @ direction)[..., None] * direction
    return rest


def _unit(vector: Tensor) -> Tensor:
    unit: Tensor = vector / vector.norm()
    return unit


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)
