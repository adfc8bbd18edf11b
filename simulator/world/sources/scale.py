"""Brings images whose values lie in a stated range to bytes, 0..255: whole numbers of any size, or floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SourceError

Range = tuple[float, float]


def check_range(stated: Range | None) -> None:
    """Raise `ValueError` unless the range, if any is stated, runs from a finite number to a larger one."""
    if stated is not None and not (np.isfinite(stated).all() and stated[0] < stated[1]):
        raise ValueError(
            f"expected range to run from a number to a larger one, got {list(stated)}; write e.g. [0, 1] or [0, 65535]"
        )


def to_bytes(name: str, images: NDArray[Any], stated: Range) -> NDArray[np.uint8]:
    """Return `images` with the lower end of the range at 0 and the upper one at 255, rounded to the nearest byte.

    Raises `SourceError` for values that are not in the range, or no numbers.

    >>> to_bytes("x", np.array([0.0, 0.5, 1.0]), (0, 1)).tolist()
    [0, 128, 255]
    """
    low, high = stated
    least, most = (float(images.min()), float(images.max())) if images.size else (low, low)
    if not (low <= least and most <= high):  # nan is in no range
        raise SourceError(
            f"{name}: expected images in the stated range {low:g} to {high:g}, got values from {least} to {most}; "
            "correct source.range, or the images"
        )
    shares = (images.astype(np.float64) - low) / (high - low)
    return np.floor(shares * 255 + 0.5).astype(np.uint8)
