"""Survival on sequences worked by hand, and its restricted mean against another implementation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest
import torch

from simulator.observer.survival import Served, dormant, exposure, restricted_mean, survival


def every_period(*nets: float | None) -> list[Served]:
    """Each period promotes its own version."""
    return [Served(period, period, promoted=period > 0, net=net) for period, net in enumerate(nets)]


def test_erased_by_the_first_of_two_versions_below() -> None:
    found = survival(every_period(0.98, 0.6, 0.4, 0.3, 0.2), 0.5)
    assert (found.planted, found.erased, found.updates, found.periods) == (0, 2, 2, 2)
    assert not found.censored
    assert found.revived == ()


def test_one_version_below_is_not_enough() -> None:
    found = survival(every_period(0.98, 0.4, 0.7, 0.3, 0.2), 0.5)
    assert (found.erased, found.updates, found.revived) == (3, 3, ())


def test_censored_at_the_end_is_a_lower_bound() -> None:
    found = survival(every_period(0.98, 0.9, 0.8), 0.5)
    assert (found.censored, found.erased, found.updates, found.periods) == (True, None, 2, 2)
    last_below = survival(every_period(0.98, 0.9, 0.1), 0.5)
    assert (last_below.censored, last_below.updates) == (True, 2)


def test_thresholds_differ() -> None:
    line = every_period(0.98, 0.3, 0.2, 0.05, 0.01)
    assert survival(line, 0.5).updates == 1
    assert survival(line, 0.1).updates == 3


def test_never_planted() -> None:
    found = survival(every_period(0.3, 0.2), 0.5)
    assert (found.reached, found.planted, found.updates, found.periods) == (False, None, None, None)
    assert (found.censored, found.revived) == (False, ())
    assert survival(every_period(0.3, 0.2), 0.1).planted == 0


def test_counts_from_the_first_effective_poisoning() -> None:
    found = survival(every_period(0.0, 0.1, 0.5, 0.9, 0.2, 0.1), 0.5)
    assert (found.planted, found.erased, found.updates, found.periods) == (2, 4, 2, 2)


def test_every_return_after_erasure_is_a_revival() -> None:
    found = survival(every_period(0.9, 0.1, 0.1, 0.8, 0.9, 0.2, 0.6, 0.1), 0.5)
    assert (found.erased, found.updates, found.revived) == (1, 1, (3, 6))
    right_away = survival(every_period(0.9, 0.1, 0.1, 0.5), 0.5)
    assert right_away.revived == (3,)


def test_rejected_candidates_are_no_updates_and_one_version_counts_once() -> None:
    line = [
        Served(0, 0, True, 0.9),
        Served(1, 0, False, 0.9),  # rejected: version 0 goes on serving
        Served(2, 2, True, 0.3),
        Served(3, 2, False, 0.2),  # the same version again: still only one below
        Served(4, 4, True, 0.6),
        Served(5, 5, True, 0.4),
        Served(6, 5, False, 0.4),
        Served(7, 7, True, 0.1),
    ]
    found = survival(line, 0.5)
    assert (found.erased, found.updates, found.periods) == (5, 3, 5)


def test_a_roll_back_brings_back_a_version_without_being_an_update() -> None:
    line = [Served(0, 0, True, 0.9), Served(1, 1, True, 0.2), Served(2, 0, False, 0.9), Served(3, 3, True, 0.1)]
    found = survival(line, 0.5)
    assert (found.censored, found.updates, found.periods) == (True, 2, 3)


def test_exposure_is_a_plain_sum_and_undefined_with_a_gap() -> None:
    assert exposure([0.9, 0.5, -0.1]) == pytest.approx(1.3)
    assert exposure([0.9, None]) is None
    assert exposure([]) is None


@pytest.mark.parametrize(
    ("net", "again", "expected"),
    [(0.1, 0.2, True), (0.1, 0.19, False), (0.5, 0.9, False), (0.6, None, False), (0.1, None, None), (None, 0.9, None)],
)
def test_dormant(net: float | None, again: float | None, expected: bool | None) -> None:
    assert dormant(net, again) is expected


def test_restricted_mean_by_hand() -> None:
    # the curve is 1 until 2, 2/3 until 3, then (one censored at 2.5) 0
    assert restricted_mean([2, 2.5, 3], [True, False, True], 4) == pytest.approx(2 + 2 / 3)
    assert restricted_mean([6], [False], 4) == 4
    assert restricted_mean([1], [True], 6) == 1
    assert restricted_mean([5], [True], 3) == 3
    assert restricted_mean([2], [True], 0.5) == 0.5
    assert restricted_mean([2], [True], 0) == 0


@pytest.mark.parametrize("seed", range(20))
def test_restricted_mean_agrees_with_lifelines(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own use of pandas and numpy is not ours to mend
        from lifelines import KaplanMeierFitter
        from lifelines.utils import restricted_mean_survival_time

        draw = torch.Generator().manual_seed(seed)
        durations = torch.randint(1, 9, (12,), generator=draw).tolist()
        ended = (torch.rand(12, generator=draw) < 0.6).tolist()
        theirs = restricted_mean_survival_time(KaplanMeierFitter().fit(durations, ended), t=6)
    assert restricted_mean(durations, ended, 6) == pytest.approx(theirs)


@pytest.mark.parametrize(("durations", "ended", "horizon"), [([], [], 3), ([1], [], 3), ([1], [True], -1)])
def test_restricted_mean_raises(durations: Sequence[float], ended: Sequence[bool], horizon: float) -> None:
    with pytest.raises(ValueError, match=r"expected (durations|horizon)"):
        restricted_mean(durations, ended, horizon)
