"""Bounds of options: `Annotated[int, Ge(1)]` on a keyword-only option refuses 0.

A scenario's options are checked against them when it is loaded. `Defense` checks them again for a class that is
constructed in Python. Bounds are those of the package `annotated_types`: `Ge`, `Gt`, `Le`, `Lt` and `Interval`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar, get_type_hints

P = ParamSpec("P")
R = TypeVar("R")

#: attribute of a bound -> (what a value must be to it, in words, what to do otherwise)
_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str, str]] = {
    "gt": (operator.gt, "above", "raise it"),
    "ge": (operator.ge, "at least", "raise it"),
    "lt": (operator.lt, "below", "lower it"),
    "le": (operator.le, "at most", "lower it"),
}


def bounded(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function`, which now raises `ValueError` for a keyword argument outside its annotation's bounds.

    >>> from typing import Annotated
    >>> from annotated_types import Interval
    >>> @bounded
    ... def thinned(*, share: Annotated[float, Interval(gt=0, le=1)] = 0.5) -> float:
    ...     return share
    >>> thinned(share=2.0)
    Traceback (most recent call last):
    ValueError: expected share to be at most 1, got 2.0; lower it
    """

    @wraps(function)  # keeps the signature, which is the schema of a scenario's options
    def checked(*args: P.args, **options: P.kwargs) -> R:
        check_bounds(function, options)
        return function(*args, **options)

    return checked


def check_bounds(owner: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raise `ValueError` when an option in `given` is outside the bounds that `owner`, which has it, annotates."""
    for name, bound, limit in _bounds(owner):
        holds, words, advice = _BOUNDS[bound]
        if given.get(name) is not None and not holds(given[name], limit):
            raise ValueError(f"expected {name} to be {words} {limit}, got {given[name]}; {advice}")


@cache
def _bounds(function: Callable[..., Any]) -> tuple[tuple[str, str, Any], ...]:
    """Return (option, bound, limit) for each bound of an option; none where an annotation cannot be read."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError):  # names that are unknown at run time; loading a scenario says so
        return ()
    found = [(name, item) for name, hint in hints.items() for item in getattr(hint, "__metadata__", ())]
    limits = [(name, bound, getattr(item, bound, None)) for name, item in found for bound in _BOUNDS]
    return tuple((name, bound, limit) for name, bound, limit in limits if limit is not None)
