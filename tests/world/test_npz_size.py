"""Archives that would take much memory, or have labels that are no classes: refused before they are unpacked."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.errors import SourceError
from simulator.world.sources.npz import Npz

IMAGES = np.zeros((300, 8, 8), np.uint8)
LABELS = np.arange(300) % 3


def archive(folder: Path, **arrays: Any) -> str:
    np.savez_compressed(folder / "a.npz", **{"images": IMAGES, "labels": LABELS, **arrays})
    return str(folder / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"labels": np.zeros(40_000_000, np.uint8)}, r"labels to be \(300,\), one for each image, got \(40000000,\)"),
        ({"time": np.zeros(5_000_000)}, r"expected time to be \(300,\), one for each image, got \(5000000,\)"),
        ({"labels": np.full(300, "9" * 30_000)}, "labels to hold .* names of at most 200 characters, got <U30000"),
        ({"labels": np.full(300, "9" * 5_000)}, "labels to hold .* names of at most 200 characters, got <U5000"),
        (
            {"images": np.zeros((90_000, 8, 8), np.uint8), "labels": np.full(90_000, "a" * 199)},
            "labels to take less memory than the images, got 71640000 bytes; number the classes",
        ),
    ],
)  # fmt: skip
def test_large_arrays_are_refused_before_they_are_unpacked(
    tmp_path: Path, arrays: dict[str, Any], sentence: str
) -> None:
    path = archive(tmp_path, **arrays)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=sentence):
            Npz(path=path).load()
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_large_header_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("images.npy", b"\x93NUMPY\x02\x00" + (50_000_000).to_bytes(4, "little") + b" " * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=r"got a header of 50000000 bytes; write it with numpy\.savez"):
            Npz(path=str(tmp_path / "a.npz")).load()
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.array([b"caf\xe9", b"tea"] * 150), "expected labels to be text in UTF-8, got 'utf-8' codec can't decode"),
        (np.array([f"row {row}" for row in range(300)]), "got 300 different labels of 300 rows; give each"),
        (np.arange(300) * 7, "got 300 different labels of 300 rows; give each"),
    ],
)  # fmt: skip
def test_labels_that_are_no_classes_raise(tmp_path: Path, labels: Any, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        Npz(path=archive(tmp_path, labels=labels)).load()


def test_many_small_classes_are_classes(tmp_path: Path) -> None:
    names = np.array([f"person {row // 2}" for row in range(300)])
    assert Npz(path=archive(tmp_path, labels=names)).load().classes == 150
    names = np.array([f"person {row}" for row in range(80)])  # few rows: a first try, not a column of another kind
    assert Npz(path=archive(tmp_path, images=IMAGES[:80], labels=names)).load().classes == 80


def test_a_number_of_classes_that_no_network_can_have_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected classes to be at most 100000, got 1000000000"):
        Npz(path=archive(tmp_path), classes=1_000_000_000)


def test_a_pipe_is_no_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(SourceError, match="to be an npz archive of plain arrays, got no regular file"):
        Npz(path=str(tmp_path / "pipe.npz")).load()
