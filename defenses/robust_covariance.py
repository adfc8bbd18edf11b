"""A covariance that a few rows cannot bend: those that bend it are left out of the estimate."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from defenses.by_class import Features

#: rounds in which rows are left out
_ROUNDS = 4
#: steps of the power iteration
_STEPS = 30


def robust_rows(points: Features, limit: int) -> NDArray[np.bool_]:
    """Return the rows of `points` (N, D) to estimate mean and covariance from: all but at most `limit` of them.

    After Diakonikolas, Kamath, Kane, Li, Moitra, Stewart: Being Robust (in High Dimensions) Can Be Practical (ICML
    2017). In the rows whitened by their own covariance, find the quadratic polynomial that varies most over them. Rows
    of a normal distribution have a variance of 2 in every such polynomial of unit norm. While it is larger than
    about what chance makes it, the rows whose value is furthest from the median are left out.

    Differs from that paper: a quarter of `limit` a round, in the place of a bound on the tail that needs far more rows
    than a class has.

    >>> rows = np.random.default_rng(0).normal(size=(300, 2))
    >>> rows[:10] = [8.0, 8.0]
    >>> bool(robust_rows(rows, 20)[:10].any())
    False
    """
    kept = np.ones(len(points), dtype=bool)
    for _ in range(_ROUNDS):
        places = np.flatnonzero(kept)
        white = whitening(points[places], np.ones(len(places), dtype=bool))
        values, variance = _widest_polynomial(white)
        if variance <= 2.0 * (1 + math.sqrt(white.shape[1] ** 2 / len(white))) ** 2:
            break
        away = np.abs(values - np.median(values))
        kept[places[np.argsort(-away, kind="stable")[: max(1, limit // _ROUNDS)]]] = False
    return kept


def whitening(points: Features, kept: NDArray[np.bool_]) -> Features:
    """Return `points` (N, D) centred and scaled such that the rows `kept` have mean 0 and covariance 1.

    >>> whitening(np.array([[0.0], [2.0], [9.0]]), np.array([True, True, False])).ravel().tolist()
    [-1.0, 1.0, 8.0]
    """
    own = points[kept]
    mean = own.mean(axis=0)
    values, vectors = np.linalg.eigh((own - mean).T @ (own - mean) / len(own))
    found: Features = (points - mean) @ (vectors / np.sqrt(np.maximum(values, 1e-9 * max(float(values.max()), 1e-12))))
    return found


def _widest_polynomial(white: Features) -> tuple[NDArray[np.float64], float]:
    """Return the values (N,) of the quadratic polynomial of unit norm that varies most over `white`, and its variance.

    The polynomial is x'Vx - tr V for a symmetric V of Frobenius norm 1, found by power iteration.
    """
    count, width = white.shape
    away = np.ones(count) / math.sqrt(count)
    norms = np.square(white).sum(axis=1)
    values = norms - width
    for step in range(_STEPS):
        away = norms - norms.mean() if step == 0 else values
        matrix = (white * away[:, None]).T @ white - away.sum() * np.eye(width)
        size = float(np.linalg.norm(matrix))
        if size <= 1e-12:
            return np.zeros(count), 0.0
        matrix /= size
        values = np.einsum("nd,nd->n", white @ matrix, white) - np.trace(matrix)
    return values, float(np.square(values).mean())
