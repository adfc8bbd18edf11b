"""From values to verdicts, on cases worked by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest

from simulator.study.statistics.lifetimes import Lifetime
from simulator.study.statistics.values import Claim, Direction, Endpoint
from simulator.study.statistics.weigh import compare_lifetimes, compare_values, decide

EFFECT = Endpoint("triggered_effect", "after the last update", "share")
LIFE = Endpoint("survival", "restricted mean of updates survived", "updates", "restricted mean", horizon=10)


def claim(name: str, endpoint: Endpoint = EFFECT, direction: Direction = "greater", gate: float = 0.0) -> Claim:
    return Claim(name, f"sentence of {name}", endpoint, direction, gate)


def by_seed(*values: float) -> dict[int, float | None]:
    return {100 + index: value for index, value in enumerate(values)}


TEN = by_seed(*range(1, 11))
ZEROS = by_seed(*[0] * 10)


def test_finding_by_hand() -> None:
    one = by_seed(3, 4, 5, 6, 7, 8) | {106: None}
    other = by_seed(2, 2, 2, 2, 2, 2, 2)
    found = compare_values(claim("a"), one, other)
    assert (found.estimate, found.p, found.smallest_p, found.n, found.left_out) == (3.5, 2 / 64, 2 / 64, 6, (106,))
    assert (found.interval.low, found.interval.high, found.interval.level) == (1, 6, 1 - 2 / 64)
    assert (found.effects.mean, found.effects.superiority) == (3.5, 1)
    assert compare_values(claim("a"), one, 2.0) == found


def test_the_three_verdicts() -> None:
    below = by_seed(*range(-10, 0))
    mixed = by_seed(1, -1, 2, -2, 3, -3, 4, -4, 5, -5)
    yes, no, open_ = decide(
        [
            compare_values(claim("up"), TEN, ZEROS),
            compare_values(claim("down"), below, ZEROS),
            compare_values(claim("mixed"), mixed, ZEROS),
        ]
    )
    assert [verdict.holds for verdict in (yes, no, open_)] == ["yes", "no", "undecided"]
    assert yes.corrected_p == pytest.approx(3 / 512)
    assert no.corrected_p == pytest.approx(3 / 512)
    assert open_.corrected_p == 1
    assert yes.reason == "the estimate 5.5 against the gate 0, corrected p 0.0059: beyond the gate"
    assert no.reason.endswith("on the other side of the gate")
    assert open_.reason.endswith("the data do not tell on which side of the gate it lies")
    assert yes.claim.id == "up"


def test_direction_and_gate() -> None:
    less = decide([compare_values(claim("bounded", direction="less", gate=12), TEN, ZEROS)])[0]
    assert (less.holds, less.corrected_p) == ("yes", pytest.approx(1 / 512))
    more = decide([compare_values(claim("doubled", gate=12), TEN, ZEROS)])[0]
    assert more.holds == "no"
    on_it = decide([compare_values(claim("on it", gate=5.5), TEN, ZEROS)])[0]
    assert (on_it.holds, on_it.corrected_p) == ("undecided", 1)


def test_five_pairs_decide_nothing_at_five_percent_and_say_so() -> None:
    few = compare_values(claim("few"), by_seed(1, 2, 3, 4, 5), by_seed(0, 0, 0, 0, 0))
    alone = decide([few])[0]
    assert (alone.holds, alone.corrected_p) == ("undecided", 1 / 16)
    assert alone.reason.endswith("5 pairs can give no smaller p; 6 are enough, whatever the other 0 claims give")
    assert few.interval.level == 0.9375
    assert decide([few], alpha=0.1)[0].holds == "yes"


def test_the_correction_counts_every_claim() -> None:
    six = compare_values(claim("six"), by_seed(1, 2, 3, 4, 5, 6), 0.0)
    assert decide([six])[0].holds == "yes"
    nothing = compare_values(claim("nothing"), {100: None}, {100: 1.0})
    verdict, untested = decide([six, nothing])
    assert (verdict.holds, verdict.corrected_p) == ("undecided", 2 / 32)
    assert verdict.reason.endswith("6 pairs can give no smaller p; 7 are enough, whatever the other 1 claims give")
    assert (untested.holds, untested.corrected_p, untested.reason) == (
        "undecided",
        None,
        "no seed has a value in both arms",
    )
    assert untested.finding.left_out == (100,)


def test_lifetimes() -> None:
    one: dict[int, Lifetime | None] = {seed: Lifetime(10, ended=False) for seed in range(100, 106)}
    other: dict[int, Lifetime | None] = {seed: Lifetime(seed - 98, ended=True) for seed in range(100, 106)}
    found = compare_lifetimes(claim("life", LIFE), one | {106: None}, other | {106: Lifetime(1, ended=True)})
    assert (found.estimate, found.p, found.n, found.left_out) == (5.5, 2 / 64, 6, (106,))
    assert (found.interval.low, found.interval.high) == (3, 8)
    assert decide([found])[0].holds == "yes"
    lost = one | {100: Lifetime(4, ended=False)}
    gated = compare_lifetimes(claim("gated", LIFE, gate=1), lost, other)
    verdict = decide([gated])[0]
    assert (verdict.holds, gated.smallest_p) == ("undecided", None)
    assert "1 of the timelines ended before the horizon" in verdict.reason


def test_the_endpoint_that_was_fixed_is_the_one_estimated() -> None:
    with pytest.raises(ValueError, match="expected the endpoint of claim 'life' to be a paired difference, got a rest"):
        compare_values(claim("life", LIFE), TEN, ZEROS)
    with pytest.raises(ValueError, match="expected the endpoint of claim 'a' to be a restricted mean"):
        compare_lifetimes(claim("a"), {}, {})


def test_values_raise() -> None:
    with pytest.raises(ValueError, match="expected a horizon for a restricted mean and for nothing else, got None"):
        Endpoint("survival", "", "updates", "restricted mean")
    with pytest.raises(ValueError, match="expected a horizon for a restricted mean and for nothing else, got 5"):
        Endpoint("accuracy", "", "share", horizon=5)
    with pytest.raises(ValueError, match="expected horizon to be a finite number above 0, got 0"):
        Endpoint("survival", "", "updates", "restricted mean", horizon=0)
    with pytest.raises(ValueError, match=r"expected kind to be one of paired difference, .* got 'mean'"):
        Endpoint("survival", "", "updates", "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected direction to be one of greater, less, within, got 'up'"):
        claim("a", direction="up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected gate to be a finite number, got nan"):
        claim("a", gate=float("nan"))
    with pytest.raises(ValueError, match="expected id to be a name"):
        claim("")
    with pytest.raises(ValueError, match=r"got \['a'\] twice"):
        decide([compare_values(claim("a"), TEN, ZEROS)] * 2)
    with pytest.raises(ValueError, match="alpha in"):
        decide([], alpha=0)


def test_statistics_are_light() -> None:
    code = "import sys, simulator.study.statistics.weigh; print([n for n in ('scipy', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
