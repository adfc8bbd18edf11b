"""The stream: which rows a period has, disjoint by role, for shuffled and for timed sources."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise

import pytest
import torch
from torch import Tensor

from simulator.scenario.model import Scenario, Use
from simulator.world.arrivals.roles import trusted_period
from simulator.world.sources.base import SourceData
from simulator.world.stream import Stream
from simulator.world.world import load_source

MakeData = Callable[..., SourceData]
MakeScenario = Callable[..., Scenario]


def no_prior(period: int) -> Tensor | None:
    return None


def roles(stream: Stream, periods: int, trusted: str | int = "latest") -> dict[str, set[int]]:
    rows = {f"batch {period}": stream.batch(period) for period in range(periods + 1)}
    rows |= {f"relearning {draw}": stream.relearning(draw) for draw in range(3)}
    rows["validation"] = stream.validation()
    kept = range((periods if trusted == "latest" else int(trusted)) + 1)
    rows |= {f"trusted {period}": stream.trusted(period) for period in kept}
    assert all(len(part) == len(set(part.tolist())) for part in rows.values())
    return {name: set(part.tolist()) for name, part in rows.items()}


def disjoint(parts: dict[str, set[int]]) -> bool:
    return all(not one & other for one, other in combinations(parts.values(), 2))


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("trusted", ["latest", 0, 2])
def test_roles_are_disjoint_and_as_large_as_asked(
    make_data: MakeData, make_scenario: MakeScenario, timed: bool, trusted: str | int
) -> None:
    scenario = make_scenario(trusted={"images": 10, "from": trusted})
    stream = Stream(make_data(timed=timed), scenario, no_prior)
    parts = roles(stream, 3, trusted)
    assert disjoint(parts)
    expected = {"batch 0": 60, "batch 1": 30, "batch 3": 30, "relearning 2": 12, "validation": 20}
    assert {name: len(parts[name]) for name in expected} == expected
    assert all(len(part) == 10 for name, part in parts.items() if name.startswith("trusted"))


@pytest.mark.parametrize(
    ("from_", "periods"), [("latest", [0, 1, 2, 3]), (0, [0, 0, 0, 0]), (2, [0, 1, 2, 2]), (3, [0, 1, 2, 3])]
)
def test_trusted_rows_are_renewed_and_age_as_the_scenario_says(
    make_data: MakeData, make_scenario: MakeScenario, from_: str | int, periods: list[int]
) -> None:
    scenario = make_scenario(trusted={"images": 10, "from": from_})
    stream = Stream(make_data(), scenario, no_prior)
    assert [trusted_period(scenario, period) for period in range(4)] == periods
    rows = [stream.trusted(period) for period in range(4)]
    for one, other in combinations(range(4), 2):
        assert torch.equal(rows[one], rows[other]) == (periods[one] == periods[other])


def test_trusted_rows_of_a_timed_source_are_never_from_the_future(
    make_data: MakeData, make_scenario: MakeScenario
) -> None:
    # row r has the time r; chunk 0 has 126 rows, chunks 1 and 2 have 30 + 10, and chunk 3 has a batch alone
    stream = Stream(make_data(timed=True), make_scenario(trusted={"images": 10, "from": 2}), no_prior)
    ends = [126, 166, 206, 206]
    assert all(int(stream.trusted(period).max()) < end for period, end in enumerate(ends))
    assert set(stream.batch(3).tolist()) == set(range(206, 236))


def test_a_timed_source_arrives_in_its_order(make_data: MakeData, make_scenario: MakeScenario) -> None:
    stream = Stream(make_data(timed=True), make_scenario(), no_prior)
    parts = roles(stream, 3)
    # chunk 0: 60 + 20 + 10 + 3 * 12 = 126 rows, then 30 + 10 each
    first = ("batch 0", "validation", "trusted 0", "relearning 0", "relearning 1", "relearning 2")
    assert set().union(*(parts[name] for name in first)) == set(range(126))
    for period, start in ((1, 126), (2, 166), (3, 206)):
        assert parts[f"batch {period}"] | parts[f"trusted {period}"] == set(range(start, start + 40))
    assert stream.batch(2).tolist() != sorted(stream.batch(2).tolist())


def test_the_test_rows_of_a_timed_source_are_from_the_chunks_span(
    make_data: MakeData, make_scenario: MakeScenario
) -> None:
    # test row r has the time 5 r; the chunks cover 0 to 125, 126 to 165, 166 to 205, 206 to 245
    stream = Stream(make_data(timed=True), make_scenario(), no_prior)
    assert stream.test(0).tolist() == list(range(26))
    assert [stream.test(period).tolist() for period in (1, 2, 3)] == [
        list(range(26, 34)),
        list(range(34, 42)),
        list(range(42, 50)),
    ]
    small = Stream(make_data(timed=True), make_scenario(stream={"test": 4}), no_prior)
    assert len(small.test(1)) == 4
    assert set(small.test(1).tolist()) < set(range(26, 34))


def test_the_test_rows_of_a_shuffled_source_are_one_fixed_stratified_part(
    make_data: MakeData, make_scenario: MakeScenario
) -> None:
    data = make_data()
    stream = Stream(data, make_scenario(), no_prior)
    assert torch.bincount(torch.from_numpy(data.test_labels)[stream.test(0)]).tolist() == [10] * 4
    assert torch.equal(stream.test(0), stream.test(3))
    whole = Stream(data, make_scenario(stream={"test": 1000}), no_prior)
    assert whole.test(1).tolist() == list(range(80))


@pytest.mark.parametrize("timed", [False, True])
def test_the_same_seed_gives_the_same_rows_in_any_order_of_asking(
    make_data: MakeData, make_scenario: MakeScenario, timed: bool
) -> None:
    data, scenario = make_data(timed=timed), make_scenario(periods=9, stream={"reuse": "recycle"})
    one, other = Stream(data, scenario, no_prior), Stream(data, scenario, no_prior)
    forward = [one.batch(period).tolist() for period in range(10)]
    backward = [other.batch(period).tolist() for period in reversed(range(10))]
    assert forward == backward[::-1]
    assert one.trusted(9).tolist() == other.trusted(9).tolist()
    different = Stream(data, make_scenario(seed=1), no_prior)
    assert forward[1] != different.batch(1).tolist()


def test_fewer_periods_do_not_change_the_earlier_ones(make_data: MakeData, make_scenario: MakeScenario) -> None:
    short = Stream(make_data(), make_scenario(periods=1), no_prior)
    long = Stream(make_data(), make_scenario(periods=5), no_prior)
    assert torch.equal(short.batch(1), long.batch(1))
    assert torch.equal(short.relearning(2), long.relearning(2))


@pytest.mark.parametrize("timed", [False, True])
def test_recycled_batches_are_rows_of_earlier_batches_only(
    make_data: MakeData, make_scenario: MakeScenario, timed: bool
) -> None:
    # 126 + 40 t rows of 400: six updates are fresh
    stream = Stream(make_data(timed=timed), make_scenario(periods=9, stream={"reuse": "recycle"}), no_prior)
    assert [stream.recycled(period) for period in range(10)] == [False] * 7 + [True] * 3
    parts = roles(stream, 6)
    assert disjoint(parts)
    batches = set().union(*(part for name, part in parts.items() if name.startswith("batch")))
    trusted = set().union(*(part for name, part in parts.items() if name.startswith("trusted")))
    for period in (7, 8, 9):
        rows = set(stream.batch(period).tolist())
        assert len(rows) == 30
        assert rows <= batches
        assert set(stream.trusted(period).tolist()) <= trusted
        assert len(stream.trusted(period)) == 10
    assert set(stream.batch(7).tolist()) != set(stream.batch(8).tolist())


@pytest.mark.parametrize("timed", [False, True])
def test_batches_follow_the_prior_exactly(make_data: MakeData, make_scenario: MakeScenario, timed: bool) -> None:
    shares = [None, [0.5, 0.2, 0.2, 0.1], [0.9, 0.0, 0.05, 0.05], [0.0, 0.25, 0.25, 0.5]]

    def prior(period: int) -> Tensor | None:
        mix = shares[period]
        return None if mix is None else torch.tensor(mix, dtype=torch.float64)

    data = make_data(timed=timed)
    stream = Stream(data, make_scenario(), prior, exact=True)
    labels = torch.from_numpy(data.labels)
    counts = [torch.bincount(labels[stream.batch(period)], minlength=4).tolist() for period in (1, 2, 3)]
    # 30 rows: 1.5 and 1.5 of period 2, and 7.5 and 7.5 of period 3, give the spare row to the lower class
    assert counts == [[15, 6, 6, 3], [27, 0, 2, 1], [0, 8, 7, 15]]
    parts = roles(stream, 3)
    assert disjoint(parts)
    assert parts["batch 0"] == set(Stream(data, make_scenario(), no_prior).batch(0).tolist())
    if timed:  # the next unused rows of class 0 (every fourth row) after chunk 0's 126 rows
        assert {row for row in parts["batch 1"] if row % 4 == 0} == set(range(128, 128 + 4 * 15, 4))


def test_recycled_batches_follow_the_prior_too(make_data: MakeData, make_scenario: MakeScenario) -> None:
    data = make_data()
    mix = torch.tensor([0.4, 0.4, 0.1, 0.1], dtype=torch.float64)
    scenario = make_scenario(periods=8, stream={"reuse": "recycle"})
    stream = Stream(data, scenario, lambda period: mix if period else None, exact=True)
    assert stream.recycled(8)
    assert torch.bincount(torch.from_numpy(data.labels)[stream.batch(8)]).tolist() == [12, 12, 3, 3]


def test_the_defaults_fit_fashion_mnist() -> None:
    data = load_source(Use(use="fashion-mnist"))
    stream = Stream(data, Scenario(periods=10), no_prior)
    parts = roles(stream, 10)
    assert disjoint(parts)
    assert {len(parts["batch 0"]), len(parts["batch 10"]), len(stream.test(4))} == {10000, 2000}
    assert not stream.recycled(10)


def test_small_settings_fit_digits_with_test_rows_in_every_period() -> None:
    keys = {
        "periods": 8,
        "stream": {"base": 300, "batch": 100, "validation": 100, "relearning": 20},
        "trusted": {"images": 40, "from": 0},
    }
    stream = Stream(load_source(Use(use="digits")), Scenario.model_validate(keys), no_prior)
    assert disjoint(roles(stream, 8, 0))
    assert min(len(stream.test(period)) for period in range(9)) >= 20


def test_time_passes_in_a_timed_source_only(make_data: MakeData, make_scenario: MakeScenario) -> None:
    timed, shuffled_order = make_data(timed=True), make_data()
    scenario = make_scenario()
    assert Stream(shuffled_order, scenario, no_prior).elapsed(1) is None
    passed = [Stream(timed, scenario, no_prior).elapsed(period) for period in range(scenario.periods + 1)]
    assert passed[0] == 0
    assert all(early < late < 1 for early, late in pairwise(value for value in passed if value is not None))
