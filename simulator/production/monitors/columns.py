"""From images to a table: pixel descriptors and the champion's own outputs, one row an image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from simulator.production.monitors.inputs import forward

#: column name -> float64 (N,); predicted labels are whole numbers
Table = dict[str, NDArray[np.float64]]


def _sharpness(grey: Tensor) -> Tensor:
    inner = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return (4 * inner - around).abs().mean((1, 2))


_COLUMNS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    # mean pixel, in [0, 1]
    "brightness": lambda grey, _: grey.mean((1, 2)),
    # standard deviation of the pixels, in [0, 0.5]
    "contrast": lambda grey, _: grey.flatten(1).std(1, correction=0),
    # mean absolute 4-neighbour Laplacian of the inner pixels, in [0, 4]; blur lowers it, noise raises it
    "sharpness": lambda grey, _: _sharpness(grey),
    # largest softmax probability
    "confidence": lambda _, logits: logits.softmax(1).amax(1),
    # entropy of the softmax, in nats
    "entropy": lambda _, logits: -(logits.softmax(1) * logits.log_softmax(1)).sum(1),
    # class of the largest logit
    "predicted_label": lambda _, logits: logits.argmax(1),
}
COLUMNS = tuple(_COLUMNS)
CATEGORICAL = frozenset({"predicted_label"})


def describe(model: nn.Module, feature_layer: str, images: Tensor, columns: tuple[str, ...] = COLUMNS) -> Table:
    """Return `columns` of `images` float32 (N, C, H, W) in [0, 1]; the pixel columns look at the mean of the channels.

    A row whose logits are not finite has not-a-number in every model column.
    """
    logits = forward(model, feature_layer, images)[0].double()
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
