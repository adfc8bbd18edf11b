"""From images to a table: pixel descriptors and the champion's own outputs, one row an image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from simulator.production.monitors.inputs import forward

#: column name -> float64 (N,); predicted labels are whole numbers
Table = dict[str, NDArray[np.float64]]


def _brightness(grey: Tensor, _: Tensor) -> Tensor:
    """Mean pixel, in [0, 1]."""
    return grey.mean((1, 2))


def _contrast(grey: Tensor, _: Tensor) -> Tensor:
    """Standard deviation of the pixels, in [0, 0.5]."""
    return grey.flatten(1).std(1, correction=0)


def _sharpness(grey: Tensor, _: Tensor) -> Tensor:
    """Mean absolute 4-neighbour Laplacian of the inner pixels, in [0, 4]. Blur lowers it, noise raises it."""
    inner = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return (4 * inner - around).abs().mean((1, 2))


def _confidence(_: Tensor, logits: Tensor) -> Tensor:
    """Largest softmax probability."""
    return logits.softmax(1).amax(1)


def _entropy(_: Tensor, logits: Tensor) -> Tensor:
    """Entropy of the softmax, in nats."""
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)


def _predicted_label(_: Tensor, logits: Tensor) -> Tensor:
    """Class of the largest logit."""
    return logits.argmax(1)


_COLUMNS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "confidence": _confidence,
    "entropy": _entropy,
    "predicted_label": _predicted_label,
}
COLUMNS = tuple(_COLUMNS)
CATEGORICAL = frozenset({"predicted_label"})


def describe(model: nn.Module, feature_layer: str, images: Tensor, columns: tuple[str, ...] = COLUMNS) -> Table:
    """Return `columns` of `images` float32 (N, C, H, W) in [0, 1]; the pixel columns look at the mean of the channels.

    A row whose logits are not finite has not-a-number in every model column.
    """
    logits = forward(model, feature_layer, images).logits.double()
    grey = images.double().mean(1)
    broken = ~logits.isfinite().all(1)
    table: Table = {}
    for name in columns:
        values = _COLUMNS[name](grey, logits).double()
        if name in ("confidence", "entropy", "predicted_label"):
            values[broken] = float("nan")
        table[name] = values.cpu().numpy()
    return table


def finite(*tables: Table) -> tuple[str, ...]:
    """Return the names of the columns that are finite in every row of every table, in order."""
    return tuple(name for name in tables[0] if all(np.isfinite(table[name]).all() for table in tables))
