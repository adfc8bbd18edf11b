"""The embedded sources, the shared assembly of a source, and the npz source."""

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from simulator.scenario.model import Use
from simulator.world.sources.assemble import Part, digest_of_arrays, source_data, spread_split
from simulator.world.sources.digits import Digits
from simulator.world.sources.npz import Npz
from simulator.world.world import load_source


def test_fashion_mnist_is_whole_and_quick() -> None:
    start = time.process_time()
    data = load_source(Use(use="fashion-mnist"))
    seconds = time.process_time() - start
    assert data.images.shape == (60000, 1, 28, 28)
    assert data.test_images.shape == (10000, 1, 28, 28)
    # the published balance: 6,000 and 1,000 of each class; the first train image is an ankle boot
    assert np.bincount(data.labels).tolist() == [6000] * 10
    assert np.bincount(data.test_labels).tolist() == [1000] * 10
    assert data.class_names[data.labels[0]] == "ankle boot"
    # published mean and standard deviation of the train images: 0.2860 and 0.3530
    pixels = data.images[:, 0].reshape(-1)
    assert float(pixels.mean()) / 255 == pytest.approx(0.2860, abs=5e-5)
    assert data.time is None
    assert seconds < 1


def test_nobody_can_write_to_the_images_that_all_share() -> None:
    data = load_source(Use(use="fashion-mnist"))
    for images in (data.images, data.test_images):
        with pytest.raises(ValueError, match="read-only"):
            images[0] = 0


def test_digits_keep_their_order_and_split_over_all_of_it() -> None:
    data = Digits().load()
    table = load_digits()
    assert data.shape == (1, 8, 8)
    assert len(data.labels) + len(data.test_labels) == 1797
    assert data.time is not None
    assert data.test_time is not None
    rows, test_rows = data.time.astype(int), data.test_time.astype(int)
    assert sorted([*rows, *test_rows]) == list(range(1797))
    # level 16 is white, level 8 is half of 255
    for mine, row in ((data.images[5, 0], rows[5]), (data.test_images[100, 0], test_rows[100])):
        assert np.abs(mine * 16.0 / 255 - table.images[row]).max() < 0.5 * 16 / 255 + 1e-9
    assert (data.labels == table.target[rows]).all()
    assert data.images.max() == 255
    # one test row in each run of five
    assert np.diff(test_rows).max() < 10
    assert len(test_rows) == round(1797 * 0.2)


def test_digits_split_by_its_own_seed() -> None:
    assert Digits().load().digest == Digits().load().digest
    assert Digits().load().digest != Digits(split_seed=1).load().digest
    assert len(Digits(test_share=0.5).load().test_labels) == 898


def test_shuffled_digits_are_the_same_rows_without_time() -> None:
    ordered, shuffled = Digits().load(), Digits(order="shuffled").load()
    assert (shuffled.time, shuffled.test_time) == (None, None)
    assert (shuffled.images == ordered.images).all()
    assert (shuffled.test_labels == ordered.test_labels).all()
    assert shuffled.digest != ordered.digest


def test_digits_in_the_order_of_their_writers_drift() -> None:
    """Another implementation: what nearest neighbours learn of early writers serves later ones less than a random half
    serves the other half."""
    data = Digits().load()
    rows, labels = data.images.reshape(len(data.labels), -1) / 255, data.labels
    orders = [np.arange(len(labels)), *(np.random.default_rng(seed).permutation(len(labels)) for seed in range(5))]
    half = len(labels) // 2
    scores = [
        KNeighborsClassifier(1)
        .fit(rows[order[:half]], labels[order[:half]])
        .score(rows[order[half:]], labels[order[half:]])
        for order in orders
    ]
    assert scores[0] < min(scores[1:])


@pytest.mark.parametrize(("rows", "share"), [(10, 0.3), (1797, 0.2), (7, 0.9), (50, 0.02)])
def test_spread_split_draws_one_row_from_each_run(rows: int, share: float) -> None:
    train, test = spread_split(rows, share, seed=4)
    assert sorted([*train, *test]) == list(range(rows))
    assert len(test) == round(rows * share)
    edges = [rows * run // len(test) for run in range(len(test) + 1)]
    for run, row in enumerate(test):
        assert edges[run] <= row < edges[run + 1]


def test_images_become_channels_first_and_the_digest_is_over_all_arrays() -> None:
    images = np.arange(2 * 8 * 9 * 3, dtype=np.uint8).reshape(2, 8, 9, 3)
    part = Part(images, np.array([0, 1], dtype=np.int32))
    data = source_data("x", part, part)
    assert data.shape == (3, 8, 9)
    assert data.images[1, 2, 3, 4] == images[1, 3, 4, 2]
    assert data.classes == 2
    expected = hashlib.sha256()
    for _ in range(2):
        expected.update(b"|u1(2, 3, 8, 9);" + images.transpose(0, 3, 1, 2).tobytes())
        expected.update(b"<i8(2,);" + np.array([0, 1], "<i8").tobytes())
    expected.update(b"none;none;")
    assert data.digest == expected.hexdigest()


def test_digest_tells_values_shape_type_and_byte_order() -> None:
    flat = np.arange(4, dtype=np.int64)
    assert digest_of_arrays(flat) == digest_of_arrays(flat.astype(">i8"))
    others = [flat + 1, flat.reshape(2, 2), flat.astype(np.int32), flat[::-1]]
    assert len({digest_of_arrays(value) for value in [flat, *others]}) == 5
    assert digest_of_arrays(flat, None) != digest_of_arrays(None, flat)


@pytest.mark.parametrize("colour", [(), (1,), (3,)])
@pytest.mark.parametrize("timed", [True, False])
def test_npz_is_read_as_it_was_written(tmp_path: Path, colour: tuple[int, ...], timed: bool) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 9, 10, *colour), dtype=np.uint8)
    labels = np.arange(20, dtype=np.uint8) % 7
    arrays = {"images": images, "labels": labels, "test_images": images[:5], "test_labels": labels[:5]}
    if timed:
        arrays |= {"time": np.arange(20) / 2, "test_time": np.arange(5)}
    np.savez_compressed(tmp_path / "mine.npz", **arrays)
    data = Npz(path=str(tmp_path / "mine.npz")).load()
    assert data.shape == (colour[0] if colour else 1, 9, 10)
    assert (data.images.transpose(0, 2, 3, 1).reshape(images.shape) == images).all()
    assert data.labels.tolist() == labels.tolist()
    assert data.classes == 7
    assert (None if data.time is None else data.time.tolist()) == (list(np.arange(20) / 2) if timed else None)
    assert (data.test_time is not None) == timed


def test_npz_without_a_test_part_is_split(tmp_path: Path) -> None:
    images = np.zeros((50, 8, 8), np.uint8)
    images[:, 0, 0] = np.arange(50)
    labels = np.where(np.arange(50) == 49, 9, np.arange(50) % 3)  # class 9 is in one part only
    np.savez(tmp_path / "mine.npz", images=images, labels=labels, time=np.arange(50))
    data = Npz(path=str(tmp_path / "mine.npz"), test_share=0.1).load()
    assert len(data.test_labels) == 5
    assert sorted([*data.images[:, 0, 0, 0], *data.test_images[:, 0, 0, 0]]) == list(range(50))
    assert data.test_time is not None
    assert data.test_time.tolist() == data.test_images[:, 0, 0, 0].tolist()
    assert (data.classes, data.class_names) == (4, ("0", "1", "2", "9"))
