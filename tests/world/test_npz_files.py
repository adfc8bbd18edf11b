"""One archive for each period: order, times, shapes, and which rows a period has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.errors import SourceError
from simulator.scenario.model import Scenario, Use
from simulator.world.sources.npz import Npz
from simulator.world.sources.npz_files import files_in_order
from simulator.world.world import World, load_source

MakeScenario = Callable[..., Scenario]


def write(folder: Path, name: str, mark: int, rows: int = 120, **arrays: Any) -> Path:
    """Write an archive whose images hold `mark` in one pixel and the number of the row in the next."""
    images = np.zeros((rows, 8, 8), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = mark, np.arange(rows) % 256
    made = {"images": images, "labels": np.arange(rows) % 4, **arrays}
    np.savez(folder / name, **{name: array for name, array in made.items() if array is not None})
    return folder / name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four files of 120 rows, `day-2`, `day-9`, `day-10` and `day-11`, marked 0 to 3 in that order; and a note."""
    for mark, day in enumerate((2, 9, 10, 11)):
        write(tmp_path, f"day-{day}.npz", mark)
    (tmp_path / "readme.txt").write_text("no archive")
    return tmp_path


def world_of(folder: Path, make_scenario: MakeScenario, **keys: Any) -> World:
    scenario = make_scenario(source={"use": "npz", "files": str(folder)}, **keys)
    return World.build(scenario, load_source(scenario.source), attacked=False, device="cpu")


def test_files_stand_in_the_order_of_their_names(folder: Path) -> None:
    names = ["day-2.npz", "day-9.npz", "day-10.npz", "day-11.npz"]
    assert [path.name for path in files_in_order(str(folder))] == names
    assert [path.name for path in files_in_order(str(folder / "day-?.npz"))] == names[:2]
    for day in ("01", "1", "001"):
        write(folder, f"same-{day}.npz", 0)
    assert [path.name for path in files_in_order(str(folder / "same-*"))] == [
        "same-001.npz",
        "same-01.npz",
        "same-1.npz",
    ]


def test_a_rows_time_is_the_number_of_its_file(folder: Path) -> None:
    data = Npz(files=str(folder), test_share=0.25).load()
    assert data.files == tuple(str(folder / f"day-{day}.npz") for day in (2, 9, 10, 11))
    assert data.time is not None
    assert data.test_time is not None
    assert data.time.tolist() == [file for file in range(4) for _ in range(90)]
    assert data.test_time.tolist() == [file for file in range(4) for _ in range(30)]
    for images, time in ((data.images, data.time), (data.test_images, data.test_time)):
        assert images[:, 0, 0, 0].tolist() == time.tolist()
    # nothing is lost and nothing is there twice
    rows = [tuple(image[0, 0, :2]) for image in (*data.images, *data.test_images)]
    assert sorted(rows) == [(file, row) for file in range(4) for row in range(120)]


def test_a_period_has_rows_of_its_own_file_alone_from_all_over_it(folder: Path, make_scenario: MakeScenario) -> None:
    world = world_of(folder, make_scenario, stream={"base": 30, "batch": 20, "validation": 10, "relearning": 5})
    seen = []
    for period in range(4):
        batch, arrival, _ = world.arrive(period, {})
        everything = [batch, world.trusted(period), world.test(period)]
        if period == 0:
            everything += [world.validation(), *(world.relearning(0, draw, 0, False) for draw in range(3))]
        for part in everything:
            assert {round(255 * float(image[0, 0, 0])) for image in part.images} == {period}
        ids = [row for part in everything for row in part.ids.tolist()]
        assert len(ids) == len(set(ids))
        seen.append(max(round(255 * float(image[0, 0, 1])) for image in batch.images))
        # the middle of the file, as a share of the three steps from the first file to the last
        assert arrival.true_drift == {"natural-order": pytest.approx(period / 3)}
    assert min(seen) > 40  # of 120 rows: not the first 20 or 30 of them


def test_a_files_own_test_rows_and_times_are_taken(tmp_path: Path) -> None:
    test = {"test_images": np.full((6, 8, 8, 1), 7, np.uint8), "test_labels": np.zeros(6, int)}
    write(tmp_path, "a.npz", 0, time=np.arange(120), test_time=np.arange(6), **test)
    write(tmp_path, "b.npz", 1, time=np.arange(119, 239))  # begins in the moment in which the other ends
    data = Npz(files=str(tmp_path), test_share=0.1).load()
    assert (len(data.labels), len(data.test_labels)) == (120 + 108, 6 + 12)
    assert (data.test_images[:6] == 7).all()
    assert data.time is not None
    assert sorted(set(data.time.tolist())) == [0, 1]


def test_a_file_may_hold_a_single_class_where_others_hold_more(tmp_path: Path) -> None:
    write(tmp_path, "a.npz", 0, labels=np.zeros(120, int))
    write(tmp_path, "b.npz", 1, labels=np.full(120, 5))
    data = Npz(files=str(tmp_path)).load()
    assert (data.classes, data.class_names) == (2, ("0", "5"))
    assert Npz(files=str(tmp_path), classes=10).load().classes == 10


def test_the_digest_is_that_of_the_rows_not_of_the_names(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    for mark in range(4):
        write(other, f"{mark}.npz", mark)
    assert Npz(files=str(other)).load().digest == Npz(files=str(folder)).load().digest
    write(other, "0.npz", 9)
    assert Npz(files=str(other)).load().digest != Npz(files=str(folder)).load().digest


def test_recycling_begins_where_the_files_end(folder: Path, make_scenario: MakeScenario) -> None:
    stream = {"base": 30, "batch": 20, "validation": 10, "relearning": 5, "reuse": "recycle"}
    world = world_of(folder, make_scenario, stream=stream, periods=5)
    assert [world.arrive(period, {})[1].recycled for period in range(6)] == [False] * 4 + [True] * 2


SMALL = {"base": 30, "batch": 20, "validation": 10, "relearning": 5}


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"periods": 4, "stream": SMALL},
            r"to hold a file for every period, 0 to 4, got 4 files; add files, use fewer",
        ),
        (
            {"stream": {**SMALL, "batch": 90}},
            r"expected '.*day-9.npz' to hold the 100 train rows that period 1 needs, got 96; put more rows in it",
        ),
        (
            {"stream": {**SMALL, "batch": 90, "reuse": "recycle"}},
            r"expected '.*day-9.npz' to hold the 100 train rows that period 1 needs, got 96; put more rows in it",
        ),
        (
            {"stream": {**SMALL, "base": 80}},
            r"expected '.*day-2.npz' to hold the 115 train rows that period 0 needs, got 96; put more rows in it",
        ),
        (
            {"stream": {**SMALL, "batch": 60}, "drift": [{"use": "label-prior", "share": 1.0, "favoured": 0}]},
            r"to have the classes that the label prior of period 1 asks for: .* class 0, got .* more rows in '.*day-9",
        ),
    ],
)
def test_too_little_fresh_data_raises(
    folder: Path, make_scenario: MakeScenario, keys: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SourceError, match=sentence):
        world_of(folder, make_scenario, **keys)


COLOUR = np.zeros((120, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (
            {},
            {"images": COLOUR},
            r"b.npz: expected images of the shape \(8, 8, 1\) \(H, W, C\) of '.*a.npz', got \(8, 8, 3",
        ),
        ({"time": np.arange(120)}, {}, "b.npz: expected a time exactly when '.*a.npz' has one, got one of the two"),
        (
            {"time": np.arange(120)},
            {"time": np.arange(118, 238)},
            "b.npz: time column out of order: expected times from 119 on, where '.*a.npz' ends, got 118; name",
        ),
        (
            {},
            {"time": np.arange(120)[::-1]},
            "b.npz: time column out of order: expected time not to fall, got 119 then",
        ),
        ({}, {"labels": np.arange(120) / 2}, "b.npz: expected labels to be whole numbers, got float64"),
        ({}, {"labels": None}, "b.npz: expected an array 'labels', got images; add it"),
        ({}, {"images": COLOUR / 2}, "b.npz: expected images to be uint8"),
        ({}, {"images": COLOUR[:1, :, :, 0], "labels": np.zeros(1, int)}, "b.npz: expected test_share to leave rows"),
    ],
)
def test_files_that_do_not_fit_raise(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], sentence: str
) -> None:
    write(tmp_path, "a.npz", 0, **first)
    write(tmp_path, "b.npz", 1, **second)
    with pytest.raises(SourceError, match=sentence):
        Npz(files=str(tmp_path)).load()


def test_files_that_are_not_there_or_no_archives_raise(tmp_path: Path) -> None:
    for files in (tmp_path, tmp_path / "absent", tmp_path / "*.npz"):
        with pytest.raises(
            SourceError, match=r"to be a folder with npz files, or a pattern .* got none; correct source"
        ):
            load_source(Use.model_validate({"use": "npz", "files": str(files)}))
    (tmp_path / "text.npz").write_text("images: none")
    with pytest.raises(SourceError, match=r"expected '.*text.npz' to be an npz archive of plain arrays"):
        Npz(files=str(tmp_path)).load()
