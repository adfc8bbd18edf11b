"""The public data sets that torchvision fetches, in its layout on disk.

torchvision downloads the files if an option says so; they are read by our own readers, which run nothing found in them
(torchvision's CIFAR classes load pickles). Checksums are torchvision's when it downloads; files that a user has placed
are read as they are, and their digest enters the run.
"""

from __future__ import annotations

import tarfile
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SourceError
from simulator.world.sources import fashion_mnist
from simulator.world.sources.assemble import Part, source_data
from simulator.world.sources.base import Source, SourceData
from simulator.world.sources.cifar import read_batch
from simulator.world.sources.idx import read_idx
from simulator.world.sources.signs import read_test_signs, read_train_signs

_FAILURES = (OSError, RuntimeError, HTTPException, tarfile.TarError, zipfile.BadZipFile, EOFError)


@dataclass(eq=False, kw_only=True)
class TorchvisionSet(Source):
    """A data set below the folder `root`; fetched by torchvision when files are missing and `download` is true.

    Images uint8 (N, C, H, W), labels int64 (N,). Shuffled: the train part has no order in time. `load` raises
    `SourceError` for files that are missing, malformed or cannot be downloaded.
    """

    #: options for the conformance checks
    example: ClassVar[dict[str, Any]] = {"root": "no-such-folder"}

    #: torchvision's name of it
    title: ClassVar[str]
    #: files and folders that must be there, below `root`
    needed: ClassVar[tuple[str, ...]]
    classes: ClassVar[int]
    class_names: ClassVar[tuple[str, ...]] = ()

    root: str
    download: bool = False

    @abstractmethod
    def _fetch(self, root: Path) -> None:
        """Have torchvision download and unpack the set below `root`."""

    @abstractmethod
    def _read(self, root: Path) -> tuple[Part, Part]:
        """Return the train and the test part."""

    def load(self) -> SourceData:
        """Read the files; `SourceError` names those that are missing and where they belong."""
        root = Path(self.root).expanduser()
        if self.download and self._missing(root):
            self._download(root)
        missing = self._missing(root)
        if missing:
            raise SourceError(
                f"expected torchvision's {self.title} files below '{self.root}', got no {', '.join(missing)}; "
                f"place {self._paths()}, or set source.download to true where there is a network"
            )
        train, test = self._read(root)
        name = f"torchvision-{self.title.lower()}"
        return source_data(name, train, test, classes=self.classes, class_names=self.class_names)

    def _missing(self, root: Path) -> list[str]:
        return [path for path in self.needed if _found(root, path) is None]

    def _paths(self) -> str:
        return ", ".join(str(Path(self.root, path)) for path in self.needed)

    def _download(self, root: Path) -> None:
        try:
            self._fetch(root)
        except _FAILURES as error:
            what = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise SourceError(
                f"expected {self.title} to be downloadable, got {what}; place {self._paths()} by hand"
            ) from error


def _found(root: Path, path: str) -> Path | None:
    """Return the file or folder `path` below `root`, or the same file still gzipped."""
    return next((found for found in (root / path, root / f"{path}.gz") if found.exists()), None)


@contextmanager
def _opened(root: Path, path: str) -> Iterator[IO[bytes]]:
    found = _found(root, path)
    assert found is not None  # `load` has looked
    try:
        with found.open("rb") as file:
            yield file
    except OSError as error:
        raise SourceError(f"expected '{found}' to be a readable file, got {error}; place it again") from error


def _idx(root: Path, path: str) -> NDArray[np.uint8]:
    with _opened(root, path) as file:
        return read_idx(file, path, 3 if "images" in path else 1)


class _IdxSet(TorchvisionSet):
    """A set in the four files of MNIST."""

    def _fetch(self, root: Path) -> None:
        from torchvision import datasets

        getattr(datasets, self.title)(str(root), download=True)

    def _read(self, root: Path) -> tuple[Part, Part]:
        train_images, train_labels, test_images, test_labels = (_idx(root, path) for path in self.needed)
        return Part(train_images, train_labels), Part(test_images, test_labels)


def _idx_files(title: str) -> tuple[str, ...]:
    parts = (("train", "images-idx3"), ("train", "labels-idx1"), ("t10k", "images-idx3"), ("t10k", "labels-idx1"))
    return tuple(f"{title}/raw/{part}-{kind}-ubyte" for part, kind in parts)


@final
class Mnist(_IdxSet):
    """Handwritten digits, 28 x 28 grey, ten classes, 60,000 train and 10,000 test images.

    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE, 1998.

    >>> Mnist(root="data").load()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    simulator.errors.SourceError: expected torchvision's MNIST files below 'data', got no MNIST/raw/...
    """

    title = "MNIST"
    needed = _idx_files("MNIST")
    classes = 10
    class_names = tuple("0123456789")


@final
class FashionMnist(_IdxSet):
    """Clothing, 28 x 28 grey, ten classes. Xiao, Rasul and Vollgraf, 2017. The same data as `fashion-mnist`.

    >>> FashionMnist(root="data").load()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    simulator.errors.SourceError: expected torchvision's FashionMNIST files below 'data', got no ...
    """

    title = "FashionMNIST"
    needed = _idx_files("FashionMNIST")
    classes = 10
    class_names = fashion_mnist.CLASS_NAMES


@final
class Kmnist(_IdxSet):
    """Cursive Japanese characters, 28 x 28 grey, ten classes, 60,000 train and 10,000 test images.

    Clanuwat et al., "Deep Learning for Classical Japanese Literature", 2018.

    >>> Kmnist(root="data").load()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    simulator.errors.SourceError: expected torchvision's KMNIST files below 'data', got no KMNIST/raw/...
    """

    title = "KMNIST"
    needed = _idx_files("KMNIST")
    classes = 10
    class_names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


class _CifarSet(TorchvisionSet):
    """Batch files of 32 x 32 colour images; the last one is the test part."""

    label_key: ClassVar[str]

    def _fetch(self, root: Path) -> None:
        from torchvision import datasets
        from torchvision.datasets.utils import download_and_extract_archive

        known = getattr(datasets, self.title)  # constructing it would load the pickles
        download_and_extract_archive(known.url, str(root), filename=known.filename, md5=known.tgz_md5)

    def _read(self, root: Path) -> tuple[Part, Part]:
        *train, test = (self._batch(root, path) for path in self.needed)
        return Part(*(np.concatenate(arrays) for arrays in zip(*train, strict=True))), Part(*test)

    def _batch(self, root: Path, path: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        with _opened(root, path) as file:
            return read_batch(file.read(), path, self.label_key)


@final
class Cifar10(_CifarSet):
    """Ten classes of animals and vehicles, 32 x 32 colour, 50,000 train and 10,000 test images.

    Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, 2009.

    >>> Cifar10(root="data").load()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    simulator.errors.SourceError: expected torchvision's CIFAR10 files below 'data', got no cifar-10-batches-py/...
    """

    title = "CIFAR10"
    needed = (*(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)), "cifar-10-batches-py/test_batch")
    classes = 10
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    label_key = "labels"


@final
class Cifar100(_CifarSet):
    """One hundred classes (the fine labels), 32 x 32 colour, 50,000 train and 10,000 test images.

    Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, 2009.

    >>> Cifar100(root="data").load()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    simulator.errors.SourceError: expected torchvision's CIFAR100 files below 'data', got no cifar-100-python/train...
    """

    title = "CIFAR100"
    needed = ("cifar-100-python/train", "cifar-100-python/test")
    classes = 100
    label_key = "fine_labels"


@final
class Svhn(TorchvisionSet):
    """House numbers seen from the street, 32 x 32 colour, ten classes, 73,257 train and 26,032 test images.

    The files label the digit 0 with 10; it is class 0 here, as in torchvision.
    Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", NIPS workshop, 2011.

    >>> Svhn(root="data").load()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    simulator.errors.SourceError: expected torchvision's SVHN files below 'data', got no train_32x32.mat...
    """

    title = "SVHN"
    needed = ("train_32x32.mat", "test_32x32.mat")
    classes = 10
    class_names = tuple("0123456789")

    def _fetch(self, root: Path) -> None:
        from torchvision import datasets
        from torchvision.datasets.utils import download_url

        for split in ("train", "test"):
            url, name, md5 = datasets.SVHN.split_list[split]
            download_url(url, str(root), name, md5)

    def _read(self, root: Path) -> tuple[Part, Part]:
        return _read_mat(root / self.needed[0]), _read_mat(root / self.needed[1])


def _read_mat(path: Path) -> Part:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        table = loadmat(path, variable_names=["X", "y"])
        images, labels = np.asarray(table["X"]).transpose(3, 0, 1, 2), np.asarray(table["y"], dtype=np.int64)
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError, MatReadError) as error:
        raise SourceError(
            f"expected '{path.name}' to be a MATLAB file with X (32, 32, 3, N) and y (N, 1), "
            f"got {type(error).__name__}: {error}; fetch it again"
        ) from error
    return Part(images, np.where(labels == 10, 0, labels).reshape(-1))


@final
class Gtsrb(TorchvisionSet):
    """German traffic signs, 43 classes, colour; every image resized to 32 x 32 (bilinear).

    The train part consists of tracks of 30 frames of one sign, so its rows vary less than their number suggests.
    Stallkamp et al., "Man vs. Computer: Benchmarking Machine Learning Algorithms for Traffic Sign Recognition", 2012.

    >>> Gtsrb(root="data").load()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    simulator.errors.SourceError: expected torchvision's GTSRB files below 'data', got no gtsrb/GTSRB/Training...
    """

    title = "GTSRB"
    needed = ("gtsrb/GTSRB/Training", "gtsrb/GTSRB/Final_Test/Images", "gtsrb/GT-final_test.csv")
    classes = 43

    def _fetch(self, root: Path) -> None:
        from torchvision.datasets import GTSRB

        fetch: Callable[..., object] = GTSRB
        for split in ("train", "test"):
            fetch(str(root), split=split, download=True)

    def _read(self, root: Path) -> tuple[Part, Part]:
        train, test, answers = (root / path for path in self.needed)
        return read_train_signs(train), read_test_signs(test, answers)
