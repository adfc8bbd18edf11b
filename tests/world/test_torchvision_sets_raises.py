"""Missing, truncated and unreachable files of torchvision's sets: the error says which file belongs where."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from simulator.errors import PluginError, SourceError
from simulator.scenario.model import Use
from simulator.world.sources.cifar import read_batch, read_plain
from simulator.world.world import load_source


def load(name: str, root: Path, **options: Any) -> None:
    load_source(Use.model_validate({"use": f"torchvision-{name}", "root": str(root), **options}))


FILES = {
    "mnist": "MNIST/raw/train-images-idx3-ubyte",
    "fashion-mnist": "FashionMNIST/raw/t10k-labels-idx1-ubyte",
    "kmnist": "KMNIST/raw/t10k-images-idx3-ubyte",
    "cifar10": "cifar-10-batches-py/data_batch_5",
    "cifar100": "cifar-100-python/test",
    "svhn": "train_32x32.mat",
    "gtsrb": "gtsrb/GT-final_test.csv",
}


@pytest.mark.parametrize(("name", "file"), FILES.items())
def test_absent_files_are_named_with_their_places(tmp_path: Path, name: str, file: str) -> None:
    with pytest.raises(SourceError, match=r"or set source.download to true where there is a network") as caught:
        load(name, tmp_path)
    assert f"got no {file}" in str(caught.value) or f", {file}" in str(caught.value)
    assert str(tmp_path / file) in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_download_without_a_network_says_what_to_place(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nothing listens there
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(SourceError, match=r"to be downloadable, got .*; place .* by hand") as caught:
        load(name, tmp_path, download=True)
    assert str(tmp_path / FILES[name]) in str(caught.value)


def test_a_root_is_needed() -> None:
    with pytest.raises(PluginError, match="expected root to be given"):
        load_source(Use(use="torchvision-mnist"))


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"not a program",
        pickle.dumps({"labels": [1]}, protocol=2),
        pickle.dumps({"data": np.zeros((1, 3072), np.uint8)}, protocol=2),
        pickle.dumps({"data": np.zeros((1, 3072), np.int8), "labels": [1]}, protocol=2),
        pickle.dumps({"data": np.zeros((1, 3071), np.uint8), "labels": [1]}, protocol=2),
        pickle.dumps({"data": [1, 2], "labels": [1]}, protocol=2),
        pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": ["x"]}, protocol=2),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2]}, protocol=2)[:-500],
        pickle.dumps([1, 2], protocol=0),
        b"\x80\x02R.",
        b"\x80\x02K\x01e.",
        b"\x80\x02K\x01K\x02b.",
    ],
)
def test_what_is_no_batch_file_raises(blob: bytes) -> None:
    with pytest.raises(SourceError, match=r"expected 'file' to be a CIFAR batch file with 'data' .* and 'labels'"):
        read_batch(blob, "file", "labels")


def test_operations_that_batch_files_do_not_use_raise() -> None:
    with pytest.raises(ValueError, match="the operation INST, which batch files do not use"):
        read_plain(b"(ios\nsystem\n.")


def test_a_bad_matlab_file_raises(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / f"{part}_32x32.mat").write_bytes(b"no such format" * 20)
    with pytest.raises(SourceError, match=r"expected 'train_32x32.mat' to be a MATLAB file with X \(32, 32, 3, N\)"):
        load("svhn", tmp_path)
    savemat(tmp_path / "train_32x32.mat", {"X": np.zeros((32, 32, 3, 2), np.uint8)})
    with pytest.raises(SourceError, match="got KeyError: 'y'"):
        load("svhn", tmp_path)


def test_a_bad_tree_of_signs_raises(tmp_path: Path) -> None:
    base = tmp_path / "gtsrb"
    (base / "GTSRB" / "Training").mkdir(parents=True)
    (base / "GTSRB" / "Final_Test" / "Images").mkdir(parents=True)
    answers = base / "GT-final_test.csv"
    answers.write_text("Filename;ClassId\n0.ppm;1\n")
    with pytest.raises(SourceError, match=r"to hold .ppm images, got none"):
        load("gtsrb", tmp_path)
    folder = base / "GTSRB" / "Training" / "stop"
    folder.mkdir()
    with pytest.raises(SourceError, match="to be class numbers, got 'stop'"):
        load("gtsrb", tmp_path)
    folder = folder.rename(folder.with_name("00014"))
    (folder / "0.ppm").write_bytes(b"P6 torn")
    with pytest.raises(SourceError, match=r"0.ppm' to be an image"):
        load("gtsrb", tmp_path)
    (folder / "0.ppm").write_bytes(b"P6 8 8 255\n" + bytes(192))
    with pytest.raises(SourceError, match=r"Images/0.ppm' to be an image"):
        load("gtsrb", tmp_path)
    answers.write_text("File;Class\n0.ppm;1\n")
    with pytest.raises(SourceError, match=r"to be a table with the columns Filename;...;ClassId, got KeyError"):
        load("gtsrb", tmp_path)
