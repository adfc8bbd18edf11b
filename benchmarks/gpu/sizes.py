"""How much is measured: the whole amount, or a tiny one, to see that the programme runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the timelines: how many, how many of them also alone, and images and trainings as in `standard`.

    `gemm` is the edge of a square product and `copy` a number of bytes: what peaks are measured on. `rows` images of
    32 x 32 are trained on in batches of `batch`, `epochs_of_rows` times.
    """

    timelines: int
    alone: int
    periods: int
    base: int
    fresh: int
    test: int
    epochs: int
    gemm: int
    copy: int
    batch: int
    rows: int
    epochs_of_rows: int


WHOLE = Sizes(
    timelines=64, alone=4, periods=10, base=10000, fresh=2000, test=2000, epochs=4,
    gemm=8192, copy=2**30, batch=512, rows=512 * 50, epochs_of_rows=4,
)  # fmt: skip
TINY = Sizes(
    timelines=2, alone=1, periods=2, base=256, fresh=64, test=64, epochs=1,
    gemm=256, copy=2**22, batch=2, rows=4, epochs_of_rows=1,
)  # fmt: skip
