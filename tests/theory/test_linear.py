"""Practice beside theory: the measured trigger weight of a linear model follows the formula within 5 % per update."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch

from simulator.seeds import generator
from simulator.theory.formula import predicted_share
from simulator.theory.linear import LinearSetting, trigger_weights

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
