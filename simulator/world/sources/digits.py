"""Handwritten digits, in the order of their writers or in none: a small set with a drift of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from simulator.scenario.bounds import InnerShare
from simulator.world.sources.assemble import Part, source_data, spread_split
from simulator.world.sources.base import Source, SourceData


@final
@dataclass(eq=False, kw_only=True)
class Digits(Source):
    """1,797 images of 8 x 8 grey pixels in ten classes, shipped with scikit-learn, in an `order`.

    The rows are ordered by writer, 13 of them one after another. In the order `writers` a row's number is its time, so
    handwriting changes from period to period; `shuffled` rows have no time and every period mixes all writers: the
    same data without the drift. Grey levels 0..16 are scaled to 0..255. `test_share` of the rows, in (0, 1), are test
    rows, drawn evenly over the whole order by `split_seed`; they are the same for every seed of a scenario.

    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998 (its test
    part).

    >>> data = Digits(test_share=0.2).load()
    >>> data.images.shape, data.test_images.shape, data.images.dtype
    ((1438, 1, 8, 8), (359, 1, 8, 8), dtype('uint8'))
    >>> data.time[:3], Digits(order="shuffled").load().time  # row 1 is a test row
    (array([0., 2., 3.]), None)
    """

    order: Literal["writers", "shuffled"] = "writers"
    test_share: InnerShare = 0.2
    split_seed: int = 0

    def load(self) -> SourceData:
        """Read the set from scikit-learn and split it."""
        from sklearn.datasets import load_digits

        table = load_digits()
        images = np.rint(table.images * (255 / 16)).astype(np.uint8)
        time = np.arange(len(images), dtype=np.float64) if self.order == "writers" else None
        rows = Part(images, table.target, time)
        train, test = spread_split(len(images), self.test_share, self.split_seed)
        names = tuple(str(digit) for digit in range(10))
        return source_data("digits", rows.take(train), rows.take(test), class_names=names)
