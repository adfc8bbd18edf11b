"""How much two undrifted samples differ by chance: column statistics, and their limits from resampling the reference.

The statistics are those Evidently computes under the same names, for many resamples at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from simulator.production.monitors.columns import CATEGORICAL, Table

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

#: smallest limit of a column: where the reference does not vary, it keeps rounding errors from raising alarms
FLOOR = 1e-3
#: Evidently's name of the method of numerical (False) and categorical (True) columns
METHODS = {False: "wasserstein", True: "jensenshannon"}


@dataclass(frozen=True, slots=True)
class Calibration:
    """`limits`: per column, the statistic at which it raises the alarm. `null`: scores (B,) of the undrifted resamples.

    The score of a pair of tables is the largest statistic / limit; above 1 is an alarm.
    """

    limits: dict[str, float]
    null: Floats

    def score(self, values: dict[str, float]) -> float:
        """Return the largest of `values` / limit."""
        return max(values[name] / limit for name, limit in self.limits.items())

    def p_value(self, score: float) -> float:
        """Return the share of undrifted scores at or above `score`, itself counted."""
        return float((1 + (self.null >= score).sum()) / (1 + len(self.null)))


def calibrate(
    reference: Table,
    columns: tuple[str, ...],
    batch: int,
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> Calibration:
    """Return limits under which undrifted data raise an alarm at the rate `level`, over all columns together.

    Two-sample bootstrap: each resample draws a reference of the real size and a batch of `batch` rows from
    `reference` with replacement, all columns of a row together. So it holds for batches larger than the reference,
    accounts for the finite reference, and keeps the columns' dependence: the limit is on the *largest* statistic, each
    divided by its own 1 - level quantile, so no correction for the number of columns is needed (max-statistic
    resampling: Westfall and Young, 1993). The rate is an average over draws of reference and batch: batches compared
    with the same reference may have a higher or lower one.
    """
    rows = len(reference[columns[0]])
    first, second = _draw(rows, rows, resamples, rng), _draw(rows, batch, resamples, rng)
    drawn = {name: _statistic(name, reference[name], first, second) for name in columns}
    allowed = int(level * (1 + resamples) + 1e-9)
    scales = {name: max(FLOOR, _largest(values, allowed)) for name, values in drawn.items()}
    scores = np.stack([drawn[name] / scales[name] for name in columns]).max(0)
    # could be below 1 only when every scale is the floor
    cutoff = max(1.0, _largest(scores, allowed))
    return Calibration({name: scale * cutoff for name, scale in scales.items()}, scores / cutoff)


def wasserstein(values: Floats, first: Counts, second: Counts) -> Floats:
    """Return S distances between samples that hold `values` (N,) as often as `first` and `second` (S, N) say.

    The first Wasserstein distance divided by the standard deviation of the first sample, at least 0.001.
    """
    order = values.argsort()
    values, first, second = values[order], first[:, order], second[:, order]
    sizes, others = first.sum(1, keepdims=True), second.sum(1, keepdims=True)
    # whole numbers until here, so that equal samples are exactly 0 apart
    ahead = np.abs(np.cumsum(first * others - second * sizes, axis=1)[:, :-1])
    distance = (ahead @ np.diff(values)) / (sizes * others)[:, 0]
    centred = values - values.mean()
    variance = (first @ centred**2) / sizes[:, 0] - (first @ centred / sizes[:, 0]) ** 2
    return np.asarray(distance / np.maximum(np.sqrt(variance.clip(0)), 0.001))


def jensen_shannon(values: Floats, first: Counts, second: Counts) -> Floats:
    """Return S Jensen-Shannon distances (base e) of the categories `values` (N,), counted as in `wasserstein`."""
    categories = np.unique(values)
    member = (values[:, None] == categories).astype(np.int64)
    shares = [(counts @ member) / counts.sum(1, keepdims=True) for counts in (first, second)]
    middle = (shares[0] + shares[1]) / 2
    divergence = (rel_entr(shares[0], middle) + rel_entr(shares[1], middle)).sum(1) / 2
    return np.asarray(np.sqrt(divergence.clip(0)))


def _statistic(name: str, values: Floats, first: Counts, second: Counts) -> Floats:
    return (jensen_shannon if name in CATEGORICAL else wasserstein)(values, first, second)


def _draw(rows: int, size: int, resamples: int, rng: np.random.Generator) -> Counts:
    """Return how often each of `rows` is drawn, (resamples, rows), in samples of `size` with replacement."""
    drawn = rng.integers(rows, size=(resamples, size)) + rows * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * rows).reshape(resamples, rows)


def _largest(values: Floats, place: int) -> float:
    """Return the `place`-th largest value, counted from 1."""
    return float(np.sort(values)[-place])
