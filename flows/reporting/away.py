"""What Prefect is told beside a run: when it does not answer, the run goes on without it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import httpx
from prefect.exceptions import PrefectException

__all__ = ["unless_away"]

P = ParamSpec("P")
R = TypeVar("R")

_LOGGER = logging.getLogger("prefect.ebbdoor")


def unless_away(function: Callable[P, R], *arguments: P.args, **keywords: P.kwargs) -> R | None:
    """Call `function` and return its value, or None when Prefect does not answer or refuses: the ledger decides."""
    try:
        return function(*arguments, **keywords)
    except (PrefectException, httpx.HTTPError, OSError) as error:
        name = getattr(function, "__name__", "a call")
        _LOGGER.warning("Prefect did not answer %s (%s); the run goes on", name, type(error).__name__)
        return None
