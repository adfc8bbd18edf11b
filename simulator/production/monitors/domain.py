"""Whether a batch is told from the reference by a classifier, and whether a change of classes alone explains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import chi2_contingency, rankdata

Floats = NDArray[np.float64]

_ENOUGH = 20  # rows of a thinned batch, to say anything about them
_MOST = 5000  # rows of a side: memory and time grow with them, and more tell little more
_FOLDS = 5
DECIMALS = 12
_RIDGE = 0.1  # times the rows trained on: what a direction of a tenth of the mean variance is halved by
_STEPS = 100  # of the estimate of a batch's class shares; the change from one to the next is then far below 0.001


@dataclass(frozen=True, slots=True)
class Apart:
    """`auc`: the share of pairs of rows, one of each side, that the classifier ranks right; 0.5 is by chance.

    `threshold` is the AUC to exceed for `p_value` to be at most the level. `reference` and `current` are the
    ranks of the rows in (0, 1) that the AUC is made of; higher is more like the batch.
    """

    auc: float
    threshold: float
    p_value: float
    reference: Floats
    current: Floats


@dataclass(frozen=True, slots=True)
class Seen:
    """Images as the champion sees them: features (N, D) and class probabilities (N, K)."""

    features: Floats
    outputs: Floats


@dataclass(frozen=True, slots=True)
class Domains:
    """A reference and a batch, how far they are apart, and the generator for finding out why."""

    reference: Seen
    current: Seen
    apart: Apart
    rng: np.random.Generator

    def kind(self, level: float, permutations: int) -> dict[str, Any]:
        """Return the kind of the drift, and the p-values that it was told by."""
        labels = same_labels(self.reference.outputs.argmax(1), self.current.outputs.argmax(1))
        kept = self.current.features[of_reference_mix(self.current.outputs, self.reference.outputs, self.rng)]
        covariates = (
            told_apart(self.reference.features, kept, level, permutations, self.rng).p_value
            if len(kept) >= _ENOUGH
            else None
        )
        return {
            "kind": kind_of(labels, covariates, level),
            "labels_p_value": labels,
            "covariates_p_value": covariates,
            "rows_of_reference_mix": len(kept),
        }


def told_apart(reference: Floats, current: Floats, level: float, permutations: int, rng: np.random.Generator) -> Apart:
    """Compare two sets of rows (N, D) by a classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017).

    A ridge regression on the side that a row is of ranks the rows of each fold, trained on the other folds. The same
    is done for `permutations` random exchanges of sides, so that the p-value, which counts the observed value, is valid
    at every number of rows and features (Phipson and Smyth, 2010). Of each side at most 5,000 rows are drawn.
    """
    reference, current = (side[rng.permutation(len(side))[:_MOST]] for side in (reference, current))
    rows = np.concatenate(standardised(reference, current))
    order = rng.permutation(len(rows))
    rows = rows[order]
    sides = np.zeros((1 + permutations, len(rows)))
    sides[0] = order >= len(reference)
    for number in range(1, 1 + permutations):
        sides[number] = rng.permutation(sides[0])
    ranks = _ranks(rows, sides)
    values = auc(ranks, sides).round(DECIMALS)  # rounding errors of equal values must not decide
    null = np.sort(values[1:])[::-1]
    allowed = int(level * (1 + permutations) + 1e-9)
    p_value = (1 + int((null >= values[0]).sum())) / (1 + permutations)
    mine = sides[0] == 1
    return Apart(float(values[0]), float(null[allowed - 1]), p_value, ranks[0, ~mine], ranks[0, mine])


def _ranks(rows: Floats, sides: Floats) -> Floats:
    """Return for S assignments of sides the rank in (0, 1) of each row within its fold (S, N)."""
    ranks = np.empty(sides.shape)
    totals = _Sums.of(rows, sides)
    for fold in np.array_split(np.arange(len(rows)), min(_FOLDS, len(rows))):
        test = rows[fold]
        found = _predictions(rows, sides, fold) if totals is None else totals.without(test, sides[:, fold]).scores(test)
        # rounded, for rows that are equal must tie
        ranks[:, fold] = (rankdata(found.round(DECIMALS), axis=0).T - 0.5) / len(fold)
    return ranks


@dataclass(frozen=True, slots=True)
class _Sums:
    """What a ridge regression of the sides on the rows needs of N rows: of all folds but one, all less that one.

    `rows` (D,) and `sides` (S,) are sums, `squares` (D, D) and `products` (D, S) those of products with the rows.
    """

    count: int
    rows: Floats
    sides: Floats
    squares: Floats
    products: Floats

    @staticmethod
    def of(rows: Floats, sides: Floats) -> _Sums | None:
        """Return the sums; None where there are more features than rows, for which they would be the larger system."""
        if rows.shape[1] > len(rows) - len(rows) // _FOLDS:
            return None
        return _Sums(len(rows), rows.sum(0), sides.sum(1), rows.T @ rows, rows.T @ sides.T)

    def without(self, rows: Floats, sides: Floats) -> _Sums:
        """Return the sums of the others."""
        return _Sums(
            self.count - len(rows),
            self.rows - rows.sum(0),
            self.sides - sides.sum(1),
            self.squares - rows.T @ rows,
            self.products - rows.T @ sides.T,
        )

    def scores(self, rows: Floats) -> Floats:
        """Return what the regression says of `rows` (M, D), for each assignment of sides (M, S)."""
        centre = self.rows / self.count
        squares = self.squares - np.outer(centre, self.rows)
        squares[np.diag_indices_from(squares)] += _RIDGE * self.count
        products = self.products - np.outer(centre, self.sides)
        coefficients = cho_solve(cho_factor(squares, check_finite=False), products, check_finite=False)
        return np.asarray((rows - centre) @ coefficients)


def _predictions(rows: Floats, sides: Floats, fold: NDArray[np.int64]) -> Floats:
    """Return what `_Sums.scores` says of the rows of a fold, by the system of equations of the rows (M, S)."""
    others = np.delete(np.arange(len(rows)), fold)
    centre = rows[others].mean(0)
    train, targets = rows[others] - centre, sides[:, others] - sides[:, others].mean(1, keepdims=True)
    penalty = _RIDGE * len(others) * np.eye(len(others))
    return np.asarray((rows[fold] - centre) @ (train.T @ np.linalg.solve(train @ train.T + penalty, targets.T)))


def auc(ranks: Floats, sides: Floats) -> Floats:
    """Return the AUC (S,) of each assignment of sides: the mean rank of the ones against that of the zeros.

    >>> auc(np.array([[0.125, 0.375, 0.625, 0.875]]), np.array([[0.0, 1.0, 0.0, 1.0]]))
    array([0.75])
    """
    ones = sides.sum(1)
    zeros = sides.shape[1] - ones
    within = (ranks * sides).sum(1) / ones - (ranks * (1 - sides)).sum(1) / zeros
    return np.asarray(0.5 + within)


def standardised(reference: Floats, current: Floats) -> tuple[Floats, Floats]:
    """Return both sets of rows with mean 0 and standard deviation 1 over all rows; columns that never vary are 0."""
    both = np.concatenate([reference, current])
    centre, spread = both.mean(0), both.std(0)
    scale = np.where(spread > 1e-12 * np.abs(centre) + 1e-300, spread, np.inf)
    return (reference - centre) / scale, (current - centre) / scale


def class_shares(outputs: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Return the class shares of the reference and those that explain a batch best, if only they changed.

    `outputs` (N, K) and `reference` (M, K) are class probabilities of the batch's and the reference's images. By
    expectation and maximisation (Saerens, Latinne and Decaestecker, Neural Computation 2002).
    """
    before = reference.mean(0).clip(1e-6)
    before /= before.sum()
    shares = before
    for _ in range(_STEPS):
        weighted = outputs * (shares / before)
        shares = (weighted / weighted.sum(1, keepdims=True)).mean(0)
    return before, shares


def of_reference_mix(outputs: Floats, reference: Floats, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which rows of a batch to keep (N,) so that its class shares become the reference's.

    Where only the class shares changed, p'(x) / p(x) is the sum over classes of p(y | x) * new share / old share; a row
    is kept with a probability in inverse proportion to it, so that the rows kept are distributed as the reference.
    """
    before, after = class_shares(outputs, reference)
    ratio = np.maximum(outputs @ (after / before), 1e-6)
    return np.asarray(rng.random(len(ratio)) < ratio.min() / ratio)


def same_labels(reference: NDArray[np.int64], current: NDArray[np.int64]) -> float:
    """Return the p-value of the predicted labels of both sides being of one mix: the chi-squared test."""
    classes = int(max(reference.max(), current.max())) + 1
    counts = np.stack([np.bincount(side, minlength=classes) for side in (reference, current)])
    counts = counts[:, counts.sum(0) > 0]
    return float(chi2_contingency(counts, correction=False).pvalue) if counts.shape[1] > 1 else 1.0


def kind_of(labels: float, covariates: float | None, level: float) -> str:
    """Name the kind of a drift that raised the alarm, by the p-values of its labels and of its images.

    `covariates` compares the batch with its class shares set back to the reference's; None: too few rows were left.

    >>> kind_of(0.001, 0.4, 0.05), kind_of(0.3, 0.001, 0.05), kind_of(0.001, 0.002, 0.05), kind_of(0.4, 0.4, 0.05)
    ('label-prior', 'covariate', 'covariate', 'unclear')
    """
    if covariates is None:
        return "unclear"
    if covariates <= level:
        return "covariate"
    return "label-prior" if labels <= level else "unclear"
