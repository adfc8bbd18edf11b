"""A world whose batches arrive as files: the rows of each role, and that only accepted files are read."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simulator.errors import ScenarioError, SourceError
from simulator.scenario.model import Scenario
from simulator.world.arrivals.admit import admit, last_arrived
from simulator.world.attacks.base import POISON
from simulator.world.sources.base import SourceData
from simulator.world.world import World

MakeData = Callable[..., SourceData]
MakeScenario = Callable[..., Scenario]
Drop = Callable[..., Path]

#: a file of 100 rows: 30 to train on, 10 for the defender, 60 left to test on
POISONED: dict[str, Any] = {
    "drift": [{"use": "rotation", "degrees": 10}, {"use": "noise", "std": 0.05}],
    "attack": {"use": "patch", "target": 1, "size": 2},
    "campaign": {"use": "persistent", "rate": 0.2},
}


@pytest.fixture
def dropped(make_scenario: MakeScenario, tmp_path: Path) -> Callable[..., Scenario]:
    """Build a scenario with the drop folder."""

    def make(**keys: Any) -> Scenario:
        folder = tmp_path / "drop"
        folder.mkdir(exist_ok=True)
        stream = {"arrivals": {"folder": str(folder)}, **keys.pop("stream", {})}
        return make_scenario(stream=stream, **keys)

    return make


@pytest.fixture
def arrived(dropped: Callable[..., Scenario], drop: Drop, make_data: MakeData) -> SourceData:
    """Three files admitted; row r of the file of period t has the pixels t and r in its first row."""
    for period in (1, 2, 3):
        images = np.full((100, 8, 8), 50, np.uint8)
        images[:, 0, 0], images[:, 0, 1] = period, np.arange(100)
        drop(f"2026-11-2{period}T18-00-00Z.npz", images=images, labels=np.arange(100) % 4)
    data = make_data()
    assert admit(dropped(), "run", data=data).last == 3
    return data


def build(scenario: Scenario, data: SourceData, attacked: bool = True) -> World:
    return World.build(scenario, data, attacked=attacked, device="cpu")


def told(images: torch.Tensor) -> tuple[set[int], list[int]]:
    """The period and the rows that undrifted images say they are from."""
    pixels = (images[:, 0, 0] * 255).round().long()
    return set(pixels[:, 0].tolist()), pixels[:, 1].tolist()


def test_every_row_of_a_file_has_one_role(dropped: Callable[..., Scenario], arrived: SourceData) -> None:
    world = build(dropped(stream={"test": 1000}), arrived)
    for period in (1, 2, 3):
        parts = [world.arrive(period, {})[0], world.trusted(period), world.test(period)]
        assert [len(part) for part in parts] == [30, 10, 60]
        rows = [told(part.images) for part in parts]
        assert all(periods == {period} for periods, _ in rows)
        assert sorted(row for _, chosen in rows for row in chosen) == list(range(100))
        for part, (_, chosen) in zip(parts, rows, strict=True):
            assert part.ids.tolist() == [period * 2**32 + row for row in chosen]
            assert part.labels.tolist() == [row % 4 for row in chosen]
    assert told(world.test(1).images)[1] != told(world.test(2).images)[1]


def test_at_most_the_asked_test_rows_are_read_each_class_with_its_share(
    dropped: Callable[..., Scenario], arrived: SourceData
) -> None:
    whole = build(dropped(stream={"test": 1000}), arrived).test(2)
    some = build(dropped(stream={"test": 20}), arrived).test(2)
    assert len(some) == 20
    assert set(some.ids.tolist()) < set(whole.ids.tolist())
    shares = torch.bincount(whole.labels, minlength=4) / 3
    assert ((torch.bincount(some.labels, minlength=4) - shares).abs() < 1).all()


def test_period_0_is_the_sources_as_without_a_folder(
    dropped: Callable[..., Scenario], arrived: SourceData, make_scenario: MakeScenario
) -> None:
    with_files, without = build(dropped(**POISONED), arrived), build(make_scenario(**POISONED), arrived)
    for ask in ("validation", "trusted", "test", "stamped", "relearning", "again"):
        arguments: tuple[Any, ...] = {
            "validation": (), "relearning": (0, 2, 5, False), "again": (0, 0.2)
        }.get(ask, (0,))  # fmt: skip
        mine, theirs = (getattr(world, ask)(*arguments) for world in (with_files, without))
        if ask == "again":
            mine, theirs = mine[0], theirs[0]
        if isinstance(mine, torch.Tensor):
            assert torch.equal(mine, theirs)
        else:
            assert torch.equal(mine.images, theirs.images)
            assert torch.equal(mine.ids, theirs.ids)


def test_ids_are_unique_over_all_periods_and_roles(dropped: Callable[..., Scenario], arrived: SourceData) -> None:
    world = build(dropped(), arrived)
    parts = [world.validation(), *(world.relearning(0, draw, 0, False) for draw in range(3))]
    parts += [part for t in range(4) for part in (world.arrive(t, {})[0], world.trusted(t), world.test(t))]
    for one, other in combinations(parts, 2):
        assert not set(one.ids.tolist()) & set(other.ids.tolist())


def test_drift_and_poison_act_on_files_and_the_twin_sees_the_same_clean_rows(
    dropped: Callable[..., Scenario], arrived: SourceData
) -> None:
    scenario = dropped(**POISONED)
    world, twin = build(scenario, arrived), build(scenario, arrived, attacked=False)
    for period in (1, 3):
        batch, arrival, roles = world.arrive(period, {})
        clean, clean_arrival, _ = twin.arrive(period, {})
        untouched = roles != POISON
        assert torch.equal(batch.ids, clean.ids)
        assert torch.equal(batch.images[untouched], clean.images[untouched])
        assert not torch.equal(batch.images[~untouched], clean.images[~untouched])
        assert (arrival.rows, arrival.poisoned, clean_arrival.poisoned) == (30, 6, 0)
        assert arrival.true_drift == {"rotation": 10.0 * period, "noise": pytest.approx(0.05 * period)}
        assert arrival.file == clean_arrival.file
        again, _ = world.again(period, arrival.asked_rate)
        assert torch.equal(again.images, batch.images)
    assert world.arrive(0, {})[1].file is None


def test_a_timed_source_says_nothing_of_the_time_of_files(
    dropped: Callable[..., Scenario], arrived: SourceData, make_data: MakeData, make_scenario: MakeScenario
) -> None:
    timed = make_data(timed=True)
    assert build(dropped(), timed).arrive(1, {})[1].true_drift == {}
    assert set(build(make_scenario(), timed).arrive(1, {})[1].true_drift) == {"natural-order"}


def test_late_labels_hold_back_the_defenders_rows_of_files(
    dropped: Callable[..., Scenario], arrived: SourceData
) -> None:
    late, now = build(dropped(stream={"label_delay": 1}), arrived), build(dropped(), arrived)
    assert [told(late.trusted(period).images)[0] for period in (2, 3)] == [{1}, {2}]
    for period in range(4):
        assert torch.equal(late.trusted(period).ids, now.trusted(max(0, period - 1)).ids)
        assert torch.equal(late.arrive(period, {})[0].ids, now.arrive(period, {})[0].ids)


def test_only_a_few_files_are_in_memory(
    dropped: Callable[..., Scenario], arrived: SourceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    import simulator.world.arrivals.folder_batches as module

    read: list[str] = []
    real = module.read_contents
    monkeypatch.setattr(module, "read_contents", lambda path, expected: read.append(path.name) or real(path, expected))
    world = build(dropped(stream={"label_delay": 1}), arrived)
    for period in (1, 2, 3):
        world.arrive(period, {})
        world.trusted(period)
        world.test(period)
        world.stamped(period)
    assert [int(name[:4]) for name in read] == [1, 2, 3]
    world.again(1, 0.0)
    assert len(read) == 4


def test_what_has_arrived(dropped: Callable[..., Scenario], make_scenario: MakeScenario, make_data: MakeData) -> None:
    assert last_arrived(make_scenario()) is None
    scenario = dropped()
    assert last_arrived(scenario) == 0
    with pytest.raises(SourceError, match=r"period 1 to have arrived in .*drop, got 0 accepted files; put it back"):
        build(scenario, make_data()).arrive(1, {})
    with pytest.raises(ScenarioError, match="expected scenario 'scenario' to have a drop folder, got none; set stream"):
        admit(make_scenario(), "run")


def test_a_changed_or_missing_file_is_refused(
    dropped: Callable[..., Scenario], arrived: SourceData, tmp_path: Path
) -> None:
    scenario, folder = dropped(), tmp_path / "drop"
    first, second, _ = sorted((folder / "accepted").iterdir())
    good = second.read_bytes()
    second.write_bytes(first.read_bytes())
    with pytest.raises(SourceError, match="to hold the images and labels that it was accepted with, got others; put"):
        build(scenario, arrived).arrive(2, {})
    second.write_bytes(good[:-10])
    with pytest.raises(SourceError, match=r"to be as it was accepted, got: expected '0002-.*' to be a whole npz"):
        build(scenario, arrived).trusted(2)
    second.unlink()
    with pytest.raises(SourceError, match="to hold one file for period 2, got none; put it back as it was"):
        build(scenario, arrived).trusted(2)
    second.write_bytes(good)
    build(scenario, arrived).trusted(2)


def test_a_folder_must_be_that_of_the_scenario(dropped: Callable[..., Scenario], arrived: SourceData) -> None:
    larger = dropped(stream={"batch": 60})
    with pytest.raises(SourceError, match=r"at least 120 rows \(60 to train on, 10 for the defender, 50 to test on\)"):
        build(larger, arrived).arrive(1, {})
    with pytest.raises(ValueError, match=r"expected period to be in \[0, 3\], got 4; correct it"):
        build(dropped(), arrived).arrive(4, {})


def test_the_neediest_arm_decides_how_many_rows_a_file_must_bring(
    dropped: Callable[..., Scenario], drop: Drop, make_data: MakeData
) -> None:
    arms = {"main": {}, "more": {"trusted.images": 21}, "less": {"stream.batch": 20}}
    drop("20261122T180000Z.npz")
    done = admit(dropped(arms=arms), "run", data=make_data())
    assert done.last == 0
    assert "at least 101 rows (30 to train on, 21 for the defender, 50 to test on), got 100" in done.set_aside[0][1]
