"""Labels that a model does not believe: where they gather in one class, somebody may have changed them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import nchypergeom_fisher, norm
from torch import Tensor, nn
from torch.nn.functional import one_hot

from defenses.row_losses import in_order
from defenses.rows import Rows

Floats = NDArray[np.float64]
#: rows disbelieved and rows in all, by label: (K, 2)
Counts = NDArray[np.int64]


@torch.no_grad()
def disbelieved(model: nn.Module, rows: Rows, batch: int = 500) -> Tensor:
    """Return bool (N,): whether the class that the model in eval mode names is not the row's label."""
    model.eval()
    found = [model(part).argmax(1) for part in rows.images.split(batch)]
    return torch.cat(found) != rows.labels if found else torch.zeros(0, dtype=torch.bool)


def disbelieved_by_others(rows: Rows, trusted: Rows, classes: int, folds: int = 5) -> tuple[Tensor, Tensor]:
    """Return what a judge that never saw `rows` disbelieves of them, and of the trusted images, both bool.

    The judge is a ridge regression of the labels on the pixels of the trusted images. What it says of these is
    said by regressions on the other folds of them.
    """
    pixels, known = rows.images.flatten(1), trusted.images.flatten(1)
    said, dealt = torch.empty_like(trusted.labels), folds_of(trusted, folds)
    for number in dealt.unique().tolist():
        own = dealt == number
        said[own] = _named(known[own], known[~own], trusted.labels[~own], classes)
    return _named(pixels, known, trusted.labels, classes) != rows.labels, said != trusted.labels


def folds_of(rows: Rows, folds: int) -> Tensor:
    """Return the fold (N,) of each row: the rows of each class are dealt out in turn, in the order of their pixels.

    Folds that followed the order of the rows would, in a file that is sorted by class, have a class judged by a
    regression that never saw it.

    >>> images = torch.tensor([0.1, 0.2, 0.3, 0.9, 0.8]).view(5, 1, 1, 1)
    >>> folds_of(Rows(images, torch.tensor([0, 0, 0, 1, 1])), 2).tolist()
    [0, 1, 0, 1, 0]
    """
    order = in_order(rows)
    counts = rows.labels.bincount()
    first = (counts.cumsum(0) - counts)[rows.labels[order]]
    dealt = torch.empty_like(order)
    dealt[order] = (torch.arange(len(order), device=order.device) - first) % folds
    return dealt


def counts_by_label(found: Tensor, labels: Tensor, classes: int) -> Counts:
    """Return by label how many rows were `found`, bool (N,), and how many there are.

    >>> counts_by_label(torch.tensor([True, False, True]), torch.tensor([1, 1, 0]), 3).tolist()
    [[1, 1], [1, 2], [0, 0]]
    """
    labels = labels.cpu()
    every = torch.bincount(labels, minlength=classes)
    return torch.stack([torch.bincount(labels[found.cpu()], minlength=classes), every], dim=1).numpy()


def log_odds_apart(window: Counts, trusted: Counts) -> tuple[Floats, Floats]:
    """Return how much likelier disbelief is in the window than among trusted images, and its standard error, both (K,).

    A difference of log odds with half a row added to each count (Anscombe, Biometrika 1956). NaN for a class that
    either side lacks.

    >>> shift, error = log_odds_apart(np.array([[1, 2], [0, 0]]), np.array([[1, 2], [3, 9]]))
    >>> shift.tolist(), error.round(3).tolist()
    ([0.0, nan], [1.633, nan])
    """
    shift, squares = np.zeros(len(window)), np.zeros(len(window))
    for sign, counts in ((1, window), (-1, trusted)):
        yes, no = counts[:, 0] + 0.5, counts[:, 1] - counts[:, 0] + 0.5
        shift += sign * np.log(yes / no)
        squares += 1 / yes + 1 / no
    absent = (window[:, 1] == 0) | (trusted[:, 1] == 0)
    return np.where(absent, np.nan, shift), np.where(absent, np.nan, np.sqrt(squares))


def p_values_apart(window: Counts, trusted: Counts, least: float = -np.inf) -> Floats:
    """Return for each class the one-sided p-value (K,) of its disbelief rising no more than that of the others.

    What classes share, as under drift, is the median of the others' shifts, taken as `least` at least: the odds ratio
    that Fisher's exact test is made against (noncentral hypergeometric). NaN where undefined.

    >>> p_values_apart(np.array([[3, 3], [0, 3]]), np.array([[0, 3], [0, 3]])).round(3).tolist()  # 1 of 20 draws
    [0.05, 1.0]
    """
    shift, _ = log_odds_apart(window, trusted)
    found = np.full(len(shift), np.nan)
    for label in np.flatnonzero(np.isfinite(shift)):
        others = np.delete(shift, label)
        rise = max(least, float(np.nanmedian(others)) if np.isfinite(others).any() else 0.0)
        both = window[label] + trusted[label]
        law = nchypergeom_fisher(both[1], both[0], window[label, 1], np.exp(rise))
        found[label] = law.sf(window[label, 0] - 1)
    return found


def p_value_of_all(window: Counts, trusted: Counts) -> float:
    """Return the one-sided p-value of no rise of disbelief over all classes but the one that rose most."""
    shift, error = log_odds_apart(window, trusted)
    if np.isfinite(shift).sum() < 2:
        return 1.0
    rest = np.isfinite(shift)
    rest[int(np.nanargmax(shift / error))] = False
    weights = 1 / error[rest] ** 2
    return float(norm.sf((shift[rest] * weights).sum() / np.sqrt(weights.sum())))


def _named(rows: Tensor, known: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the class (N,) that a ridge regression on the rows `known` (M, D) names for `rows` (N, D)."""
    centre, wanted = known.mean(0), one_hot(labels, classes).to(known.dtype)
    train = (known - centre).double()
    kernel = train @ train.T
    kernel += (0.1 * kernel.diagonal().mean() + 1e-6) * torch.eye(len(train), dtype=kernel.dtype, device=kernel.device)
    pulled = torch.linalg.solve(kernel, (wanted - wanted.mean(0)).double())
    named: Tensor = ((rows - centre).double() @ (train.T @ pulled) + wanted.mean(0).double()).argmax(1)
    return named
