"""The formula on cases worked by hand, and against torch's own optimizer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from simulator.production.training.schedules import Linear
from simulator.theory.formula import (
    clean_energy,
    effective_rates,
    predicted_share,
    predicted_updates,
    trigger_difference,
)


def pictures(*rows: tuple[float, float]) -> Tensor:
    """Images of two pixels, (N, 1, 1, 2)."""
    return torch.tensor(rows).reshape(-1, 1, 1, 2)


def test_energy_is_the_variance_along_the_trigger() -> None:
    images = pictures((0.0, 1.0), (1.0, 0.0), (0.0, 0.0), (1.0, 1.0))
    first_pixel = torch.tensor([[[5.0, 0.0]]])  # its length does not matter
    assert clean_energy(images, first_pixel) == pytest.approx(0.25)
    # on the diagonal the projections are 1, 1, 0 and 2, each over the root of 2
    assert clean_energy(images, torch.tensor([[[1.0, 1.0]]])) == pytest.approx(0.25)
    assert clean_energy(images, torch.tensor([[[1.0, 1.0]]]), centred=False) == pytest.approx((1 + 1 + 0 + 4) / 2 / 4)


def test_a_constant_border_has_energy_only_uncentred() -> None:
    images = pictures((-1.0, 0.2), (-1.0, 0.8))
    border = torch.tensor([[[1.0, 0.0]]])
    assert clean_energy(images, border) == 0
    assert clean_energy(images, border, centred=False) == pytest.approx(1)


def test_energy_agrees_with_the_covariance_of_torch() -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand((200, 3, 4, 4), generator=generator)
    difference = torch.rand((3, 4, 4), generator=generator)
    covariance = torch.cov(images.flatten(1).double().T, correction=0)
    unit = nn.functional.normalize(difference.double().flatten(), dim=0)
    assert clean_energy(images, difference) == pytest.approx(float(unit @ covariance @ unit))
    # seen in [-1, 1], everything is twice as far apart
    assert clean_energy(2 * images - 1, difference) == pytest.approx(4 * clean_energy(images, difference))


def test_trigger_difference_is_the_mean_change() -> None:
    images, stamped = pictures((0.0, 0.5), (0.4, 0.5)), pictures((1.0, 0.5), (1.0, 0.5))
    assert trigger_difference(images, stamped).flatten().tolist() == pytest.approx([0.8, 0.0])


def test_share_by_hand() -> None:
    assert predicted_share([0.1, 0.2], energy=0.5, decay=0.5) == pytest.approx(0.9 * 0.8)
    assert predicted_share([0.01] * 200, energy=1.0, decay=0.0) == pytest.approx(0.99**200)
    assert predicted_share([0.5], energy=3.0, decay=0.0) == pytest.approx(-0.5)
    assert predicted_share([], energy=1.0, decay=0.0) == 1


def test_without_energy_and_decay_nothing_is_forgotten() -> None:
    assert predicted_share([0.5] * 1000, energy=0.0, decay=0.0) == 1
    assert predicted_share([0.5] * 1000, energy=0.0, decay=5e-4) == pytest.approx((1 - 2.5e-4) ** 1000)


def test_small_steps_forget_by_the_sum_of_the_rates() -> None:
    rates = [Linear(peak=0.01).rate_at(step, 1000) for step in range(1000)]
    assert predicted_share(rates, energy=0.1, decay=0.0) == pytest.approx(math.exp(-sum(rates) * 0.1), rel=1e-3)


@pytest.mark.parametrize(
    ("rates", "threshold", "planted", "expected"),
    [
        ([0.5], 0.25, 1.0, 2),
        ([0.5], 0.5, 8.0, 4),
        ([1.5], 0.25, 1.0, 2),  # the sign turns, the size halves
        ([0.1], 0.5, 1.0, 6.578813478960585),  # 0.9^6 = 0.53, 0.9^7 = 0.48
        ([0.5, 0.5], 0.25, 1.0, 1),
        ([0.0], 0.5, 1.0, math.inf),
        ([], 0.5, 1.0, math.inf),
        ([2.5], 0.5, 1.0, math.inf),
        ([1.0, 0.1], 0.5, 1.0, 0),
        ([0.1], 0.5, 0.4, 0),
    ],
)
def test_updates_by_hand(rates: list[float], threshold: float, planted: float, expected: float) -> None:
    assert predicted_updates(rates, 0.75, 0.25, threshold, planted) == pytest.approx(expected)


def test_updates_and_share_agree() -> None:
    rates = [Linear(peak=0.05).rate_at(step, 40) for step in range(40)]
    updates = predicted_updates(rates, 0.2, 0.01, 0.1)
    assert predicted_share(rates, 0.2, 0.01) ** updates == pytest.approx(0.1)


def test_shares_too_small_for_a_float_still_rank() -> None:
    assert predicted_share([0.9] * 1000, 1.0, 0.0) == predicted_share([0.9] * 2000, 1.0, 0.0) == 0
    short, long = (predicted_updates([0.9] * steps, 1.0, 0.0, 0.1) for steps in (1000, 2000))
    assert (short, long) == pytest.approx((1 / 1000, 1 / 2000))


def test_effective_rates_build_up() -> None:
    assert effective_rates([0.1, 0.1, 0.2], 0.5) == pytest.approx([0.1, 0.15, 0.35])
    assert effective_rates([0.1, 0.3], 0.0) == pytest.approx([0.1, 0.3])
    assert effective_rates([0.01] * 500, 0.9)[-1] == pytest.approx(0.1)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("energy", "decay"), [(0.1, 0.0), (0.0, 0.05), (0.25, 5e-4)])
def test_share_follows_the_sgd_of_torch(momentum: float, energy: float, decay: float) -> None:
    weight = nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=0.0, momentum=momentum, weight_decay=decay)
    rates = [Linear(peak=0.02 * (1 - momentum)).rate_at(step, 300) for step in range(300)]
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        (energy * weight.square() / 2).backward()
        optimizer.step()
    share = predicted_share(effective_rates(rates, momentum), energy, decay)
    left = float(weight.detach())
    assert left < 0.9
    assert left == pytest.approx(share, rel=1e-9 if momentum == 0 else 0.05)


def test_formula_raises() -> None:
    image = pictures((0.0, 1.0))
    with pytest.raises(ValueError, match=r"expected images \(N, C, H, W\) and a difference \(C, H, W\)"):
        clean_energy(image, torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="expected the trigger to have a direction, got"):
        clean_energy(image, torch.zeros(1, 1, 2))
    with pytest.raises(ValueError, match="expected images and stamped to have one shape"):
        trigger_difference(image, image[:, :, :, :1])
    with pytest.raises(ValueError, match="expected momentum to be at least 0 and below 1, got 1"):
        effective_rates([0.1], 1.0)
    with pytest.raises(ValueError, match=r"expected rates to be finite and at least 0, got -0\.1"):
        predicted_share([0.1, -0.1], 1.0, 0.0)
    with pytest.raises(ValueError, match="expected energy to be finite and at least 0, got nan"):
        predicted_share([0.1], math.nan, 0.0)
    with pytest.raises(ValueError, match="expected threshold and planted to be finite and above 0"):
        predicted_updates([0.1], 1.0, 0.0, threshold=0.0)
    with pytest.raises(ValueError, match="expected decay to be finite and at least 0, got -1"):
        predicted_updates([0.1], 1.0, -1.0, threshold=0.5)
