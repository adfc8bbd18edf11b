"""Fashion-MNIST, whole, shipped with the package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import final

import numpy as np
from numpy.typing import NDArray

from simulator.world.sources.assemble import Part, source_data
from simulator.world.sources.base import Source, SourceData
from simulator.world.sources.idx import read_idx

CLASS_NAMES = (
    "t-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


@final
class FashionMnist(Source):
    """60,000 train and 10,000 test images of 28 x 28 grey pixels in ten classes of clothing; shuffled.

    Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017.

    >>> data = FashionMnist().load()
    >>> data.images.shape, data.test_images.shape, data.class_names[:3]
    ((60000, 1, 28, 28), (10000, 1, 28, 28), ('t-shirt/top', 'trouser', 'pullover'))
    """

    def load(self) -> SourceData:
        """Read the four embedded files, once a process."""
        return _whole()


@cache
def _whole() -> SourceData:
    train = Part(_read("train-images-idx3-ubyte.gz", 3), _read("train-labels-idx1-ubyte.gz", 1))
    test = Part(_read("t10k-images-idx3-ubyte.gz", 3), _read("t10k-labels-idx1-ubyte.gz", 1))
    return source_data("fashion-mnist", train, test, class_names=CLASS_NAMES)


def _read(name: str, dimensions: int) -> NDArray[np.uint8]:
    with files("simulator").joinpath("world", "data", "fashion-mnist", name).open("rb") as file:
        return read_idx(file, name, dimensions)
