"""The rows of one class as a filter looks at them: their features, beside those of the class's trusted images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defenses.base import Context, DoesNotApply, Rows

#: features (N, D)
Features = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassRows:
    """The rows of class `label`: their places in the window, their features, and those of the trusted images."""

    label: int
    places: NDArray[np.intp]
    features: Features
    trusted: Features

    def __len__(self) -> int:
        return len(self.places)


def classes_of(context: Context, smallest: int) -> list[ClassRows]:
    """Return the classes that have at least `smallest` rows in the window.

    The rows of each class stand in an order that depends on their features alone, and trusted images likewise, so that
    a result computed from them does not depend on the order in which the platform hands over its rows. Raises
    `DoesNotApply` when no class has so many rows.
    """
    window = context.window
    found = [] if window is None or not len(window) else list(_classes(context, window, smallest))
    if not found:
        raise DoesNotApply(f"expected a class with at least {smallest} rows in the window, got none")
    return found


def _classes(context: Context, window: Rows, smallest: int) -> Iterator[ClassRows]:
    features, labels = features_of(context, window), window.labels.cpu().numpy()
    trusted, of_trusted = features_of(context, context.trusted), context.trusted.labels.cpu().numpy()
    width = features.shape[1]
    for label in range(context.classes):
        places = _in_order(np.flatnonzero(labels == label), features)
        own = _in_order(np.flatnonzero(of_trusted == label), trusted) if len(trusted) else places[:0]
        if len(places) >= smallest:
            yield ClassRows(label, places, features[places], trusted[own] if len(own) else np.empty((0, width)))


def features_of(context: Context, rows: Rows) -> Features:
    """Return the features (N, D) of `rows`; (0, 0) without rows."""
    return context.features(rows.images).double().cpu().numpy() if len(rows) else np.empty((0, 0))


def alike(features: Features) -> bool:
    """Whether all rows are the same but for rounding: nothing can be told apart.

    >>> alike(np.ones((3, 2))), alike(np.eye(2))
    (True, False)
    """
    return bool(np.ptp(features, axis=0).max() <= 1e-6 * np.abs(features).max())


def _in_order(places: NDArray[np.intp], features: Features) -> NDArray[np.intp]:
    mine = features[places]
    return places[np.lexsort((mine.max(axis=1, initial=0.0), np.square(mine).sum(axis=1), mine.sum(axis=1)))]
