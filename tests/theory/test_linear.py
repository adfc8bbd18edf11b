"""Practice beside theory: the measured trigger weight of a linear model follows the formula within 5 % per update.

Clean inputs have energy 1 in every direction but the trigger's, where they have `energy`; answers depend on the other
directions alone, so whatever the model holds along the trigger was planted there. Each update draws new clean data and
fine-tunes; the trigger weight should be multiplied by (1 - eta (s^2 + lambda))^S.

It differs from the formula by sampling only: the energy of N rows is known to a share of sqrt(2 / N), and their noise
leaves a trigger weight of about noise / sqrt(N) below which nothing can be read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from simulator.seeds import generator
from simulator.theory.formula import predicted_share


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


PACES = ((0.002, 200), (0.01, 50), (0.01, 200), (0.05, 50))
GRID = [
    (energy, decay, rate, steps)
    for energy, decay, (rate, steps) in product((0.0, 0.05, 0.25, 1.0), (0.0, 0.05), PACES)
    # where less than 5 % is left after one update there is no update to follow
    if predicted_share([rate] * steps, energy, decay) >= 0.05
]


def test_the_grid_spans_no_forgetting_to_nearly_all() -> None:
    shares = [predicted_share([rate] * steps, energy, decay) for energy, decay, rate, steps in GRID]
    assert len(GRID) >= 28
    assert min(shares) < 0.1
    assert max(shares) == 1


@pytest.mark.parametrize("batch", [None, 2000])
@pytest.mark.parametrize(("energy", "decay", "rate", "steps"), GRID)
def test_trigger_weight_follows_the_formula(
    energy: float, decay: float, rate: float, steps: int, batch: int | None
) -> None:
    setting = LinearSetting(
        energy=energy, decay=decay, rate=rate, steps=steps, samples=50_000, batch=batch, dimensions=8
    )
    weights = trigger_weights(setting, 2, generator(0, "linear", str(setting)))
    share = predicted_share([rate] * steps, energy, decay)
    assert weights[0] == pytest.approx(1)
    for before, after in pairwise(weights):
        if before < 0.1:  # little is left, and sampling noise is as large
            break
        assert after / before == pytest.approx(share, rel=0.05)


@pytest.mark.parametrize("batch", [None, 100])
def test_no_energy_and_no_decay_is_no_forgetting_at_all(batch: int | None) -> None:
    setting = LinearSetting(energy=0.0, rate=0.1, steps=500, samples=1000, batch=batch)
    assert trigger_weights(setting, 3, generator(1)) == pytest.approx((1, 1, 1, 1), abs=1e-9)


def test_full_batches_are_the_sgd_of_torch() -> None:
    setting = LinearSetting(energy=0.5, decay=0.1, rate=0.05, steps=30, samples=300, dimensions=4, noise=0.5)
    draw = generator(2)
    measured = trigger_weights(setting, 1, generator(2))

    # the same draws in the same order
    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    u = normal(4)
    u = u / u.norm()
    truth = normal(4)
    truth = truth - (truth @ u) * u
    truth = truth / truth.norm()
    along, others = normal(300), normal(300, 4)
    inputs = others - torch.outer(others @ u, u) + 0.5**0.5 * torch.outer(along, u)
    answers = inputs @ truth + 0.5 * normal(300)
    weights = (truth + u).requires_grad_()
    optimizer = torch.optim.SGD([weights], lr=0.05, weight_decay=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        ((inputs @ weights - answers).square().mean() / 2).backward()
        optimizer.step()
    assert measured[1] == pytest.approx(float(u @ weights.detach()), rel=1e-9)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"energy": -0.1}, "expected energy to be a finite number of at least 0, got -0.1"),
        ({"steps": 0}, "expected steps to be at least 1, got 0"),
        ({"batch": 0}, "expected batch to be at least 1, got 0"),
        ({"dimensions": 1}, "expected dimensions to be at least 2, got 1"),
        ({"rate": 2.0}, r"expected rate x \(energy \+ decay\) to be below 2"),
    ],
)
def test_settings_raise(changed: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearSetting(**({"energy": 0.5, "rate": 0.1, "steps": 10} | changed))


def test_no_update_raises() -> None:
    with pytest.raises(ValueError, match="expected updates to be at least 1, got 0"):
        trigger_weights(LinearSetting(energy=0.5, rate=0.1, steps=10), 0, generator(0))
