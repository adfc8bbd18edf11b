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


def test_erased_by_the_first_of_two_periods_below() -> None:
    found = survival(every_period(0.98, 0.6, 0.4, 0.3, 0.2), 0.5)
    assert (found.planted, found.erased, found.updates, found.periods) == (0, 2, 2, 2)
    assert (found.ended, found.state, found.revived) == (True, "erased", ())


def test_one_period_below_is_not_enough() -> None:
    found = survival(every_period(0.98, 0.4, 0.7, 0.3, 0.2), 0.5)
    assert (found.erased, found.updates, found.revived) == (3, 3, ())


def test_alive_or_censored_at_the_end_survival_is_a_lower_bound() -> None:
    found = survival(every_period(0.98, 0.9, 0.8), 0.5)
    assert (found.state, found.ended, found.erased, found.updates, found.periods) == ("alive", False, None, 2, 2)
    last_below = survival(every_period(0.98, 0.9, 0.1), 0.5)
    assert (last_below.state, last_below.ended, last_below.updates) == ("censored", False, 2)


def test_thresholds_differ() -> None:
    line = every_period(0.98, 0.3, 0.2, 0.05, 0.01)
    assert survival(line, 0.5).updates == 1
    assert survival(line, 0.1).updates == 3


def test_never_planted() -> None:
    found = survival(every_period(0.3, 0.2), 0.5)
    assert (found.reached, found.planted, found.updates, found.periods) == (False, None, None, None)
    assert (found.state, found.ended, found.revived) == ("not planted", False, ())
    assert survival(every_period(0.3, 0.2), 0.1).planted == 0


def test_counts_from_the_first_effective_poisoning() -> None:
    found = survival(every_period(0.0, 0.1, 0.5, 0.9, 0.2, 0.1), 0.5)
    assert (found.planted, found.erased, found.updates, found.periods) == (2, 4, 2, 2)


def test_every_return_after_an_erasure_is_a_revival_and_one_period_below_is_none() -> None:
    found = survival(every_period(0.9, 0.1, 0.1, 0.8, 0.9, 0.2, 0.6, 0.1), 0.5)
    assert (found.erased, found.updates, found.revived) == (1, 1, (3,))
    twice = survival(every_period(0.9, 0.1, 0.1, 0.8, 0.2, 0.2, 0.6, 0.6), 0.5)
    assert (twice.erased, twice.revived, twice.state) == (1, (3, 6), "alive")
    assert found.state == "censored"  # it worked again in period 6, and is below since one period
    right_away = survival(every_period(0.9, 0.1, 0.1, 0.5), 0.5)
    assert right_away.revived == (3,)


def test_rejected_candidates_are_no_updates_and_a_version_counts_in_each_period_it_serves() -> None:
    line = [
        Served(0, 0, True, 0.9),
        Served(1, 0, False, 0.9),  # rejected: version 0 goes on serving
        Served(2, 2, True, 0.3),
        Served(3, 3, True, 0.6),
        Served(4, 4, True, 0.4),
        Served(5, 4, False, 0.4),  # the same version a second period: it is not the backdoor's home any more
    ]
    found = survival(line, 0.5)
    assert (found.erased, found.updates, found.periods) == (4, 3, 4)


def test_a_version_without_the_backdoor_that_goes_on_serving_does_not_survive() -> None:
    line = [Served(0, 0, True, 0.9), Served(1, 1, True, 0.1), *(Served(p, 1, False, 0.1) for p in range(2, 9))]
    found = survival(line, 0.5)
    assert (found.state, found.erased, found.updates, found.periods) == ("erased", 1, 1, 1)


def test_rare_updating_does_not_lengthen_life_by_definition() -> None:
    # the same curve over the periods, served by a version a period and by one version each four periods
    nets = (0.9, 0.8, 0.7, 0.6, 0.3, 0.2, 0.2, 0.2, 0.1)
    often = survival(every_period(*nets), 0.5)
    rarely = survival([Served(p, p // 4, p % 4 == 0 and p > 0, net) for p, net in enumerate(nets)], 0.5)
    assert (often.erased, often.periods, rarely.erased, rarely.periods) == (4, 4, 4, 4)
    assert (often.updates, rarely.updates) == (4, 1)


def test_a_roll_back_and_the_replay_that_plants_anew() -> None:
    # poisoned in period 1, rolled back to version 0 in period 2; replayed poison brings it back
    line = [
        Served(0, 0, True, 0.0), Served(1, 1, True, 0.956), Served(2, 0, False, 0.0), Served(3, 3, True, 0.191),
        Served(4, 4, True, 0.813),
    ]  # fmt: skip
    found = survival(line, 0.5)
    assert (found.planted, found.erased, found.revived, found.state) == (1, 2, (4,), "alive")
    assert (found.updates, found.periods) == (0, 1)


def test_a_roll_back_brings_back_a_version_without_being_an_update() -> None:
    line = [Served(0, 0, True, 0.9), Served(1, 1, True, 0.2), Served(2, 0, False, 0.9), Served(3, 3, True, 0.1)]
    found = survival(line, 0.5)
    assert (found.state, found.updates, found.periods) == ("censored", 2, 3)


def test_exposure_is_a_plain_sum_and_undefined_with_a_gap() -> None:
    assert exposure([0.9, 0.5, -0.1]) == pytest.approx(1.3)
    assert exposure([0.9, None]) is None
    assert exposure([]) is None


@pytest.mark.parametrize(
    ("net", "again", "unrelated", "expected"),
    [
        pytest.param(0.1, 0.51, 0.42, False, id="no faster than an unrelated trigger"),
        pytest.param(0.1, 0.51, 0.31, True, id="exactly the margin above it"),
        pytest.param(0.1, 0.51, 0.3101, False, id="just not"),
        pytest.param(0.1, 0.15, -0.2, False, id="no faster than the twin, which learns the unrelated one faster"),
        pytest.param(0.1, 0.2, 0.0, True, id="exactly the margin above both"),
        pytest.param(0.1, 0.19, None, False, id="the missing control cannot decide"),
        pytest.param(0.1, 0.9, None, None, id="the unrelated control is missing"),
        pytest.param(0.1, None, 0.1, None, id="not re-learned, or no twin"),
        pytest.param(0.5, 0.9, 0.1, False, id="alive"),
        pytest.param(0.6, None, None, False, id="alive and not re-learned"),
        pytest.param(None, 0.9, 0.1, None, id="not read"),
    ],
)
def test_dormant(net: float | None, again: float | None, unrelated: float | None, expected: bool | None) -> None:
    assert dormant(net, again, unrelated) is expected


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
