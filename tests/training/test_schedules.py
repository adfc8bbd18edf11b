"""Schedules against PyTorch's schedulers and tables worked by hand."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler

from simulator.production.training.schedules import (
    Constant,
    Cosine,
    CyclicTwoPhase,
    Linear,
    OneCycle,
    Schedule,
    SlantedTriangular,
    Step,
    WarmRestarts,
    rates_of,
)
from simulator.scenario import catalog


def played(schedule: Schedule, steps: int) -> list[float]:
    return list(rates_of(schedule, steps))


def torch_played(make, rate: float, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


TORCH = {
    "constant": (Constant(rate=0.3), lambda o: lr_scheduler.ConstantLR(o, factor=1.0), 0.3, 7),
    "step": (Step(rate=0.2, factor=0.5, every=0.25), lambda o: lr_scheduler.StepLR(o, 10, gamma=0.5), 0.2, 40),
    "cosine": (
        Cosine(peak=0.2, floor=0.01),
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=33, eta_min=0.01),
        0.2,
        33,
    ),
    "linear": (
        Linear(peak=0.2, floor=0.05),
        lambda o: lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.25, total_iters=31),
        0.2,
        31,
    ),
    "one-cycle": (
        OneCycle(peak=0.1),
        lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=313, cycle_momentum=False),
        0.1,
        313,
    ),
    "one-cycle, other options": (
        OneCycle(peak=0.4, rise=0.55, divisor=10, final_divisor=100),
        lambda o: lr_scheduler.OneCycleLR(
            o, max_lr=0.4, total_steps=47, pct_start=0.55, div_factor=10, final_div_factor=100, cycle_momentum=False
        ),
        0.4,
        47,
    ),
    "warm restarts": (
        WarmRestarts(peak=0.3, floor=0.02, first=0.1),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=6, eta_min=0.02),
        0.3,
        60,
    ),
    "growing warm restarts": (
        WarmRestarts(peak=0.3, first=0.1, growth=2),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=6, T_mult=2),
        0.3,
        60,
    ),
    "cyclic, first phase": (
        CyclicTwoPhase(base=0.03, peak1=2.5, first=0.99, half_period=10),
        lambda o: lr_scheduler.CyclicLR(o, base_lr=0.03, max_lr=2.5, step_size_up=10, cycle_momentum=False),
        0.03,
        50,
    ),
}


@pytest.mark.parametrize("case", TORCH)
def test_agrees_with_torch(case):
    schedule, make, rate, steps = TORCH[case]
    assert played(schedule, steps) == pytest.approx(torch_played(make, rate, steps), rel=1e-6, abs=1e-12)


#: lengths of training at which torch's scheduler rounds otherwise, or starts elsewhere
OTHERWISE = {
    "step": (Step(rate=0.1, factor=0.9, every=0.1), lambda o, n: lr_scheduler.StepLR(o, n // 10, gamma=0.9), 40),
    "cosine": (Cosine(peak=0.1), lambda o, n: lr_scheduler.CosineAnnealingLR(o, n), 100),
    "linear": (Linear(peak=0.1, floor=0.01), lambda o, n: lr_scheduler.LinearLR(o, 1.0, 0.1, n), 100),
    "one-cycle": (OneCycle(peak=0.1), lambda o, n: lr_scheduler.OneCycleLR(o, 0.1, n, cycle_momentum=False), 2),
    "warm restarts": (
        WarmRestarts(peak=0.1),
        lambda o, n: lr_scheduler.CosineAnnealingWarmRestarts(o, round(n / 4)),
        100,
    ),
    "cyclic, both phases alike": (
        CyclicTwoPhase(base=0.1, peak1=2.5, peak2=2.5),
        lambda o, n: lr_scheduler.CyclicLR(o, 0.1, 2.5, 10, cycle_momentum=False),
        100,
    ),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_records_would_change_with_torchs_own_schedulers(case):
    schedule, make, steps = OTHERWISE[case]
    assert played(schedule, steps) != torch_played(lambda optimizer: make(optimizer, steps), 0.1, steps)


def test_slanted_triangular_follows_the_paper_formula():
    # Howard & Ruder: T = 20, cut_frac = 0.1, so cut = 2; lr = peak * (1 + p * (ratio - 1)) / ratio with ratio 32.
    rates = played(SlantedTriangular(peak=0.32), 20)
    assert rates[:4] == pytest.approx([0.01, 0.165, 0.32, 0.01 * (1 + 31 * 17 / 18)])
    assert rates[11] == pytest.approx(0.01 * (1 + 31 * 0.5))
    assert rates[19] == pytest.approx(0.01 * (1 + 31 / 18))


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 15, 64, 313])
def test_slanted_triangular_stays_between_its_ends(steps):
    rates = played(SlantedTriangular(peak=0.3, ratio=32), steps)
    assert min(rates) >= 0.3 / 32 * (1 - 1e-12)
    assert max(rates) <= 0.3 * (1 + 1e-12)
    assert steps == 1 or max(rates) == pytest.approx(0.3)


def test_slanted_triangular_takes_the_share_at_its_word():
    # 0.29 * 100 is 28.999... in binary; the peak stands at step 29.
    rates = played(SlantedTriangular(peak=1.0, cut=0.29), 100)
    assert rates.index(max(rates)) == 29


def test_cyclic_two_phase_by_hand():
    schedule = CyclicTwoPhase(base=0.1, peak1=0.5, peak2=0.3, first=0.5, half_period=2)
    expected = [0.1, 0.3, 0.5, 0.3, 0.1, 0.2, 0.3, 0.2, 0.1, 0.2]
    assert played(schedule, 10) == pytest.approx(expected)


def test_step_keeps_whole_steps():
    assert played(Step(rate=1.0, factor=0.1, every=0.5), 3) == pytest.approx([1.0, 1.0, 0.1])
    assert played(Step(rate=1.0, factor=0.1, every=0.01), 3) == pytest.approx([1.0, 0.1, 0.01])


@pytest.mark.parametrize("name", sorted(catalog.names("schedules")))
@pytest.mark.parametrize("steps", [1, 2, 5, 64])
def test_every_schedule_gives_a_positive_finite_rate_at_any_length(name, steps):
    rates = played(catalog.build("schedules", name), steps)
    assert all(0 < rate < 10 for rate in rates)
