"""Shares of seeds: by hand, and against the closed forms of the Clopper-Pearson interval."""

from __future__ import annotations

from math import comb

import pytest

from simulator.study.statistics.shares import share_interval, share_p, smallest_share_p
from simulator.study.statistics.values import Claim, Endpoint
from simulator.study.statistics.weigh import decide, weigh_share

ENDS = Claim("ends", "most end", Endpoint("erased", "by update 20", "of seeds", "share"), "greater", 0.7)


def by_hand(count: int, total: int, share: float) -> float:
    """The chance of all outcomes that are no likelier than the one observed."""
    chances = [comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(total + 1)]
    return sum(chance for chance in chances if chance <= chances[count] * (1 + 1e-7))


@pytest.mark.parametrize(("count", "total", "share"), [(12, 20, 0.7), (20, 20, 0.7), (2, 28, 0.7), (6, 12, 0.5)])
def test_p_is_the_exact_binomial_one(count: int, total: int, share: float) -> None:
    assert share_p(count, total, share) == pytest.approx(by_hand(count, total, share))


def test_interval_has_the_closed_form_at_the_ends() -> None:
    none, all_ = share_interval(0, 10), share_interval(10, 10, 0.99)
    assert none.low == 0
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 10))
    assert all_.low == pytest.approx(0.005 ** (1 / 10))
    assert (all_.high, all_.level) == (1, 0.99)


def test_eight_of_twenty_that_live_on_are_no_sign_of_an_end() -> None:
    # the mean of min(T, horizon) - horizon is below 0 as soon as one is erased, and 12 of 20 gave "holds"
    found = weigh_share(ENDS, {seed: seed >= 8 for seed in range(20)}, together=0.99)
    assert (found.estimate, found.n) == (0.6, 20)
    assert found.p == pytest.approx(by_hand(12, 20, 0.7))
    assert found.simultaneous == share_interval(12, 20, 0.99)
    assert decide([found])[0].holds == "undecided"


@pytest.mark.parametrize(("erased", "holds"), [(20, "yes"), (14, "undecided"), (6, "no")])
def test_a_share_can_fall_on_either_side(erased: int, holds: str) -> None:
    assert decide([weigh_share(ENDS, {seed: seed < erased for seed in range(20)})])[0].holds == holds


def test_few_seeds_can_give_no_small_p() -> None:
    found = weigh_share(ENDS, {1: True, 2: True, 3: True, 4: None})
    assert (found.n, found.left_out, found.smallest_p) == (3, (4,), smallest_share_p(3, 0.7))
    assert smallest_share_p(3, 0.7) == pytest.approx(0.3**3)
    assert weigh_share(ENDS, {1: None}).reason == "no seed has a value"


def test_shares_raise() -> None:
    with pytest.raises(ValueError, match="expected 0 to 3 events in at least one seed, got 4 of 3"):
        share_p(4, 3, 0.5)
