"""MMD against a plain double loop; its alarm rate and power on real images."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from simulator.production.monitors.mmd import Mmd, kernel, unbiased_mmd2


def _looped(gram: np.ndarray, first: list[int], second: list[int]) -> float:
    """Equation 3 of Gretton et al. (2012), term by term."""
    within = [
        np.mean([gram[i, j] for i in side for j in side if i != j]) for side in (first, second)
    ]  # each pair twice: the same mean
    across = np.mean([gram[i, j] for i in first for j in second])
    return float(within[0] + within[1] - 2 * across)


def test_unbiased_mmd_by_hand():
    gram = torch.tensor(
        [[1, 0.8, 0.1, 0.2], [0.8, 1, 0.3, 0.2], [0.1, 0.3, 1, 0.6], [0.2, 0.2, 0.6, 1]], dtype=torch.float64
    )
    # 0.8 + 0.6 - 2 x 0.2
    assert math.isclose(float(unbiased_mmd2(gram, torch.tensor([[1.0, 1, 0, 0]]).double())), 1.0)


def test_unbiased_mmd_is_the_double_loop():
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.normal(size=(12, 3)))
    gram, _ = kernel(rows)
    members = torch.zeros(4, 12, dtype=torch.float64)
    chosen = [sorted(rng.permutation(12)[:5].tolist()) for _ in range(4)]
    for split, first in enumerate(chosen):
        members[split, first] = 1
    expected = [_looped(gram.numpy(), first, [i for i in range(12) if i not in first]) for first in chosen]
    np.testing.assert_allclose(unbiased_mmd2(gram, members).numpy(), expected, rtol=1e-9)


def test_kernel_has_the_median_distance():
    rows = np.random.default_rng(0).normal(size=(11, 4))  # 55 pairs: an odd number has one median
    gram, bandwidth = kernel(torch.from_numpy(rows))
    assert math.isclose(bandwidth, np.median(pdist(rows)), rel_tol=1e-9)
    squared = np.square(rows[3] - rows[7]).sum()
    assert math.isclose(float(gram[3, 7]), math.exp(-squared / (2 * bandwidth**2)), rel_tol=1e-9)


def test_kernel_of_repeated_rows():
    assert kernel(torch.ones(5, 2, dtype=torch.float64))[1] == 1.0
    mostly = torch.tensor([[0.0]] * 8 + [[3.0]], dtype=torch.float64)
    assert math.isclose(kernel(mostly)[1], 3.0)


def test_undrifted_images_alarm_at_the_level(make_view, images):
    monitor = Mmd(rows=60, permutations=99)
    generator = torch.Generator().manual_seed(0)
    signals = []
    for seed in range(250):
        drawn = images[torch.randperm(20000, generator=generator)[:160]]
        signals.append(monitor.observe(make_view(drawn[:60], drawn[60:], seed=seed)))
    assert 0.02 <= np.mean([signal.alarm for signal in signals]) <= 0.1
    assert all(signal.alarm == (signal.score > signal.threshold) == (signal.p_value <= 0.05) for signal in signals)
    # unbiased: the mean over undrifted draws is 0 within three standard errors
    scores = np.array([signal.score for signal in signals])
    assert abs(scores.mean()) < 3 * scores.std() / math.sqrt(250)


@pytest.mark.parametrize("on", ["features", "pixels"])
def test_a_known_shift_is_seen(make_view, images, on):
    monitor = Mmd(on=on, rows=200, permutations=99)
    alarms = 0
    for seed in range(20):
        clean = images[400 * seed : 400 * (seed + 1)]
        alarms += monitor.observe(make_view(clean[:200], (clean[200:] + 0.1).clamp(0, 1), seed=seed)).alarm
    assert alarms >= 19


def test_a_side_is_subsampled(make_view, images):
    assert Mmd(rows=50, permutations=19).observe(make_view(images[:30], images[100:300])).detail["rows"] == [30, 50]


def test_same_view_same_signal_and_nothing_touched(make_view, images):
    view = make_view(images[:100], images[100:300], seed=5)
    before = copy.deepcopy((view.generator.get_state().tolist(), view.current))
    first = Mmd(rows=80).observe(view)
    assert Mmd(rows=80).observe(view) == first
    assert view.generator.get_state().tolist() == before[0]
    assert torch.equal(view.current, before[1])
    assert not view.model[4]._forward_pre_hooks
    assert Mmd(rows=80).observe(make_view(images[:100], images[100:300], seed=6)).score != first.score


def test_a_diverged_champion_gives_a_reason_and_no_alarm(make_view, model, images):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken[0].weight.fill_(float("nan"))
    view = make_view(images[:20], images[20:60], champion=broken)
    signal = Mmd().observe(view)
    assert (signal.score, signal.alarm) == (None, False)
    assert signal.detail["reason"] == "the champion's features are not finite"
    assert Mmd(on="pixels").observe(view).score is not None
