"""The torchvision sets, on generated files of torchvision's layout, against torchvision's own reading of them."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from simulator.errors import SourceError
from simulator.scenario.model import Use
from simulator.world.sources.base import SourceData
from simulator.world.sources.cifar import Made, read_batch, read_plain
from simulator.world.world import load_source

RANDOM = np.random.default_rng(0)


def load(name: str, root: Path, **options: Any) -> SourceData:
    return load_source(Use.model_validate({"use": f"torchvision-{name}", "root": str(root), **options}))


def write_idx(path: Path, array: np.ndarray[Any, Any], zipped: bool = False) -> None:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    blob = head + array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + ".gz" * zipped).write_bytes(gzip.compress(blob) if zipped else blob)


def write_mnist(root: Path, title: str, zipped: bool = False) -> None:
    for part, rows in (("train", 30), ("t10k", 12)):
        write_idx(root / title / "raw" / f"{part}-images-idx3-ubyte", RANDOM.integers(0, 256, (rows, 28, 28)), zipped)
        write_idx(root / title / "raw" / f"{part}-labels-idx1-ubyte", np.arange(rows) % 10, zipped)


@pytest.mark.parametrize(
    ("name", "title"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)
def test_the_mnist_family_reads_as_torchvision_reads_it(tmp_path: Path, name: str, title: str) -> None:
    write_mnist(tmp_path, title)
    data = load(name, tmp_path)
    for train, images, labels in ((True, data.images, data.labels), (False, data.test_images, data.test_labels)):
        theirs = getattr(datasets, title)(str(tmp_path), train=train)
        assert (images[:, 0] == theirs.data.numpy()).all()
        assert labels.tolist() == theirs.targets.tolist()
    assert (data.classes, len(data.class_names), data.time) == (10, 10, None)


def test_files_still_gzipped_are_read(tmp_path: Path) -> None:
    write_mnist(tmp_path, "MNIST", zipped=True)
    assert len(load("mnist", tmp_path).labels) == 30


def python2_pickle(table: dict[str, Any]) -> bytes:
    """Write a dict as Python 2 wrote the published batch files: protocol 2, byte strings, the array by three names."""

    def value(item: Any) -> bytes:
        if isinstance(item, str):
            return b"U" + bytes([len(item)]) + item.encode()
        if isinstance(item, list):
            return b"]q\x05(" + b"".join(b"K" + bytes([number]) for number in item) + b"e"
        raw = item.tobytes()
        sizes = b"".join(b"M" + size.to_bytes(2, "little") for size in item.shape)
        kind = b"cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        made = b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09"
        return made + b"(K\x01" + sizes + b"\x86" + kind + b"\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb"

    return b"\x80\x02}q\x01(" + b"".join(value(key) + value(item) for key, item in table.items()) + b"u."


def cifar_table(rows: int, keys: tuple[str, ...], classes: int) -> dict[str, Any]:
    table: dict[str, Any] = {"batch_label": "a batch", "data": RANDOM.integers(0, 256, (rows, 3072)).astype(np.uint8)}
    return table | {key: [(7 * row) % classes for row in range(rows)] for key in keys}


def known(monkeypatch: pytest.MonkeyPatch, kind: Any, folder: Path) -> None:
    """Tell torchvision the checksums of the generated files, so that it reads them."""

    def sums(files: list[list[str]]) -> list[list[str]]:
        return [[name, hashlib.md5((folder / name).read_bytes()).hexdigest()] for name, _ in files]

    monkeypatch.setattr(kind, "train_list", sums(kind.train_list))
    monkeypatch.setattr(kind, "test_list", sums(kind.test_list))
    (folder / kind.meta["filename"]).write_bytes(python2_pickle({kind.meta["key"]: [1, 2]}))
    (checksum,) = sums([[kind.meta["filename"], ""]])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": checksum[1]})


@pytest.mark.filterwarnings("ignore:dtype.. align should be passed")  # NumPy, where torchvision loads Python 2's dtype
@pytest.mark.parametrize(
    ("name", "kind", "keys", "classes"),
    [
        ("cifar10", datasets.CIFAR10, ("labels",), 10),
        ("cifar100", datasets.CIFAR100, ("fine_labels", "coarse_labels"), 100),
    ],
)
def test_cifar_reads_as_torchvision_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: Any, keys: tuple[str, ...], classes: int
) -> None:
    folder = tmp_path / kind.base_folder
    folder.mkdir()
    for file, _ in [*kind.train_list, *kind.test_list]:
        (folder / file).write_bytes(python2_pickle(cifar_table(8, keys, classes)))
    known(monkeypatch, kind, folder)
    data = load(name, tmp_path)
    for train, images, labels in ((True, data.images, data.labels), (False, data.test_images, data.test_labels)):
        theirs = kind(str(tmp_path), train=train)
        assert (images.transpose(0, 2, 3, 1) == theirs.data).all()
        assert labels.tolist() == theirs.targets
    assert data.classes == classes


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_program_is_read_to_what_loading_it_would_give(protocol: int) -> None:
    table = cifar_table(3, ("labels",), 10)
    images, labels = read_batch(pickle.dumps(table, protocol=protocol), "file", "labels")
    assert (images.transpose(0, 3, 1, 2).reshape(3, -1) == table["data"]).all()
    assert labels.tolist() == table["labels"]
    shared = ["x", 70000]
    plain = {"a": [1, -5, 2.5, None, True, 2**40], "b": (1, 2, 3, 4), "c": {"d": ()}, "e": [shared, shared], "f": []}
    assert read_plain(pickle.dumps(plain, protocol=protocol)) == plain


class Hostile:
    """Loading it would make a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


def test_a_hostile_program_is_read_and_not_run(tmp_path: Path) -> None:
    blob = pickle.dumps({"data": Hostile(tmp_path / "made"), "labels": [1]}, protocol=2)
    found = read_plain(blob)["data"]
    assert isinstance(found, Made)
    assert str(found.name).endswith(".mkdir")
    with pytest.raises(SourceError, match="to be a CIFAR batch file"):
        read_batch(blob, "file", "labels")
    assert not (tmp_path / "made").exists()
    pickle.loads(blob)  # the control: loaded, it does run
    assert (tmp_path / "made").exists()


def test_svhn_reads_as_torchvision_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = dict(datasets.SVHN.split_list)
    for part in ("train", "test"):
        path = tmp_path / f"{part}_32x32.mat"
        labels = np.arange(1, 11).reshape(-1, 1).astype(np.uint8)
        savemat(path, {"X": RANDOM.integers(0, 256, (32, 32, 3, 10)).astype(np.uint8), "y": labels})
        sums[part] = [sums[part][0], path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", sums)
    data = load("svhn", tmp_path)
    for part, images, labels in (("train", data.images, data.labels), ("test", data.test_images, data.test_labels)):
        theirs = datasets.SVHN(str(tmp_path), split=part)
        assert (images == theirs.data).all()
        assert labels.tolist() == theirs.labels.tolist()
    assert data.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def write_signs(root: Path) -> None:
    for label in (0, 3, 42):
        folder = root / "gtsrb" / "GTSRB" / "Training" / f"{label:05d}"
        folder.mkdir(parents=True)
        for number, side in enumerate((20, 50)):
            pixels = RANDOM.integers(0, 256, (side, side + 3, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"00000_{number:05d}.ppm")
        (folder / f"GT-{label:05d}.csv").write_text("Filename;ClassId\n")
    folder = root / "gtsrb" / "GTSRB" / "Final_Test" / "Images"
    folder.mkdir(parents=True)
    lines = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for number, label in enumerate((42, 7)):
        Image.fromarray(np.full((32, 32, 3), 40 * number, np.uint8)).save(folder / f"{number:05d}.ppm")
        lines.append(f"{number:05d}.ppm;32;32;5;5;26;26;{label}")
    (root / "gtsrb" / "GT-final_test.csv").write_text("\n".join(lines) + "\n")


def test_gtsrb_is_resized_and_labelled_by_its_folders(tmp_path: Path) -> None:
    write_signs(tmp_path)
    data = load("gtsrb", tmp_path)
    theirs = datasets.GTSRB(str(tmp_path), split="train")
    assert len(theirs) == len(data.labels) == 6
    for row in range(6):
        expected = np.asarray(theirs[row][0].resize((32, 32), Image.Resampling.BILINEAR))
        assert (data.images[row].transpose(1, 2, 0) == expected).all()
    assert data.labels.tolist() == [0, 0, 3, 3, 42, 42]
    assert data.test_labels.tolist() == [label for _, label in datasets.GTSRB(str(tmp_path), split="test")]
    assert data.test_images.mean(axis=(1, 2, 3)).tolist() == [0, 40]
    assert data.classes == 43
