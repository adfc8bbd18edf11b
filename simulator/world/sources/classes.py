"""Classes as a user labels them (from 1, with gaps, by name), and as everything else numbers them: from 0."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SourceError

#: the largest number that is taken for a class: more are hashes, ids or a sign of a damaged file
LARGEST = 999_999

#: the most classes
MOST = 100_000
#: from this number of classes on, they must have two rows each on average: all-different labels are no classes
_SPARSE = 100


def names_of_classes(name: str, labels: Sequence[NDArray[Any]]) -> tuple[str, ...]:
    """Return the names of the classes of all `labels`, in order; none where they are whole numbers 0, 1, 2 ...

    Numbers are ordered by value, names by letters with the numbers in them by value. What are no labels is left to
    `assemble.check_parts`. Raises `SourceError` for numbers beyond `LARGEST`, and for numbers and names together.
    """
    kinds = {"text" if each.dtype.kind in "US" else each.dtype.kind for each in labels}
    if kinds == {"text"}:
        texts = {str(value) for each in labels for value in _texts(name, np.unique(each))}
        _check_count(name, len(texts), labels)
        return tuple(sorted(texts, key=natural))
    if "text" in kinds and kinds & {"i", "u"}:
        raise SourceError(f"{name}: expected labels to be all numbers or all names, got both; write them alike")
    if not kinds <= {"i", "u"} or not all(each.size for each in labels):
        return ()
    values = sorted({int(value) for each in labels for value in np.unique(each)})
    if values[0] < 0:
        return ()
    if values[-1] > LARGEST:
        raise SourceError(
            f"{name}: expected labels to be numbers of classes, up to {LARGEST}, got {values[-1]}; "
            "number the classes, or give their names as text"
        )
    _check_count(name, len(values), labels)
    return () if values == list(range(len(values))) else tuple(str(value) for value in values)


def numbered(labels: NDArray[Any], names: tuple[str, ...]) -> NDArray[Any]:
    """Return `labels`, in which every class is one of `names`, as int64 positions in `names`; unchanged without any."""
    if not names:
        return labels
    place = {name: number for number, name in enumerate(names)}
    values, where = np.unique(labels, return_inverse=True)
    texts = _texts("labels", values) if labels.dtype.kind in "US" else values
    return np.array([place[str(text)] for text in texts], dtype=np.int64)[where.reshape(labels.shape)]


def numbers_of(names: Iterable[str]) -> tuple[int, ...] | None:
    """Return the user's own numbers of the classes, rising; None where they are words, or simply 0, 1, 2 ..."""
    texts = list(names)
    if not texts or not all(text.isdecimal() for text in texts):
        return None
    numbers = tuple(int(text) for text in texts)
    rising = all(one < other for one, other in pairwise(numbers))
    return numbers if rising and numbers != tuple(range(len(numbers))) else None


def natural(text: str) -> tuple[list[str | int], str]:
    """Return the key that sorts texts by letters, and numbers in them by value: 2 before 10."""
    pieces = re.split("([0-9]+)", text)
    return [int(piece) if number % 2 else piece for number, piece in enumerate(pieces)], text


def _check_count(name: str, classes: int, labels: Sequence[NDArray[Any]]) -> None:
    rows = sum(each.size for each in labels)
    if classes > MOST or (classes > _SPARSE and classes > rows // 2):
        raise SourceError(
            f"{name}: expected labels to be of at most {MOST} classes with two rows each or more, "
            f"got {classes} different labels of {rows} rows; give each row its class"
        )


def _texts(name: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind != "S":
        return values
    try:
        return np.char.decode(values, "utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{name}: expected labels to be text in UTF-8, got {error}; save them as text") from error
