"""Errors in a user's own data are reported in one sentence each."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.errors import PluginError, SourceError
from simulator.scenario.model import Use
from simulator.world.sources.assemble import spread_split
from simulator.world.sources.npz import Npz
from simulator.world.world import load_source

IMAGES = np.zeros((6, 8, 8), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])
TEST = {"test_images": IMAGES, "test_labels": LABELS}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": None}, "expected an array 'images', got labels; add it"),
        ({"labels": None}, "expected an array 'labels', got images; add it"),
        ({"times": LABELS}, "expected arrays named images, labels, .* got 'times'"),
        ({"images": IMAGES / 255}, "expected images to be uint8 in 0..255, got float64"),
        ({"images": IMAGES[0]}, r"expected images to be \(N, H, W\)"),
        ({"images": np.zeros((6, 8, 8, 2), np.uint8)}, "1 or 3 channels, got shape"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "expected images to hold rows, got none"),
        ({"images": np.zeros((6, 8, 7), np.uint8)}, "at least 8 pixels high and wide, got 8 x 7"),
        ({"labels": LABELS[:5]}, r"expected labels to be \(6,\), one for each image, got \(5,\)"),
        ({"labels": LABELS / 2}, "expected labels to be whole numbers, got float64"),
        ({"labels": LABELS - 1}, r"expected labels to be in \[0, 1\], got -1"),
        ({"labels": LABELS * 0}, "expected at least 2 classes, got 1"),
        ({"test_images": IMAGES}, "expected test_images and test_labels together, got test_images"),
        ({"test_labels": LABELS}, "expected test_images and test_labels together, got test_labels"),
        ({"test_time": LABELS}, "expected test_images and test_labels together, got test_time alone"),
        ({**TEST, "time": np.arange(6)}, "expected test_time exactly when there is a time"),
        ({**TEST, "test_time": np.arange(6)}, "expected test_time exactly when there is a time"),
        ({**TEST, "test_images": np.zeros((6, 9, 8), np.uint8)}, "expected test_images to be of the shape"),
        ({"time": np.array([0, 1, 2, 5, 4, 6])}, "time column out of order: .* got 5 then 4 at row 4"),
        (
            {**TEST, "time": np.arange(6), "test_time": -np.arange(6)},
            "time column out of order: expected test_time not to fall, got 0 then -1 at row 1",
        ),
        ({"time": np.arange(5)}, r"expected time to be \(6,\) numbers, got int64 of shape \(5,\)"),
        ({"time": np.array(list("abcdef"))}, r"expected time to be \(6,\) numbers, got <U1"),
        ({"time": np.array([0, 1, np.nan, 3, 4, 5])}, "expected time to be finite"),
        ({"labels": np.array([0, "a", None, 1, 2, 3], dtype=object)}, "to be an npz archive of plain arrays"),
    ],
)
def test_a_malformed_archive_raises(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    arrays = {"images": IMAGES, "labels": LABELS} | change
    np.savez(tmp_path / "bad.npz", **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(SourceError, match=sentence):
        Npz(path=str(tmp_path / "bad.npz")).load()


def test_what_is_no_archive_raises(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"got no such file; correct source.path"):
        Npz(path=str(tmp_path / "absent.npz")).load()
    np.save(tmp_path / "one.npy", IMAGES)
    with pytest.raises(SourceError, match=r"got a single array; use numpy.savez"):
        Npz(path=str(tmp_path / "one.npy")).load()
    (tmp_path / "text.npz").write_text("images: none")
    with pytest.raises(SourceError, match="to be an npz archive of plain arrays"):
        Npz(path=str(tmp_path / "text.npz")).load()
    np.savez(tmp_path / "whole.npz", images=IMAGES, labels=LABELS)
    (tmp_path / "torn.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-40])
    with pytest.raises(SourceError, match="to be an npz archive of plain arrays"):
        Npz(path=str(tmp_path / "torn.npz")).load()
    with pytest.raises(SourceError, match="to be an npz archive of plain arrays"):
        Npz(path=str(tmp_path)).load()


@pytest.mark.parametrize(
    ("share", "bound"),
    [
        (0.0, r"above 0\.0, got 0\.0; raise"),
        (1.0, r"below 1\.0, got 1\.0; lower"),
        (-0.1, r"above 0\.0, got -0\.1; raise"),
        (2.0, r"below 1\.0, got 2\.0; lower"),
    ],
)
@pytest.mark.parametrize("name", ["digits", "npz"])
def test_a_share_outside_the_open_interval_raises(name: str, share: float, bound: str) -> None:
    options = {"path": "x"} if name == "npz" else {}
    with pytest.raises(PluginError, match=rf"expected test_share to be {bound} it$"):
        load_source(Use.model_validate({"use": name, "test_share": share, **options}))


def test_a_split_that_leaves_a_part_empty_raises() -> None:
    with pytest.raises(SourceError, match=r"got 0.01 of 6 rows"):
        spread_split(6, 0.01, 0)


@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        ({"use": "fashion-mnst"}, "did you mean 'fashion-mnist'"),
        ({"use": "npz"}, "expected either path .* or files .* to be given, got neither; give one"),
        ({"use": "npz", "path": "a", "files": "b"}, "expected either path .* or files .* to be given, got both"),
        ({"use": "digits", "order": "time"}, "expected order to be 'writers' or 'shuffled', got 'time'"),
        ({"use": "digits", "share": 0.1}, "got 'share'"),
    ],
)
def test_a_bad_use_raises(use: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        load_source(Use.model_validate(use))


def test_numbers_that_differ_are_told_apart(tmp_path: Path) -> None:
    time = np.array([0, 1, 2, 1767242000.5, 1767242000.25, 1767242001])  # seconds: alike in six digits
    np.savez(tmp_path / "bad.npz", images=IMAGES, labels=LABELS, time=time)
    with pytest.raises(SourceError, match=r"got 1767242000\.5 then 1767242000\.25 at row 4"):
        Npz(path=str(tmp_path / "bad.npz")).load()
    np.savez(tmp_path / "bad.npz", images=IMAGES / 255 + 1e-9, labels=LABELS)
    with pytest.raises(SourceError, match=r"in the stated range -1 to 0, got values from 1e-09 to 1e-09"):
        Npz(path=str(tmp_path / "bad.npz"), range=(-1, 0)).load()
