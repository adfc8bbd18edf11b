"""Calls to Prefect beside a run: when it does not answer, the run goes on without it."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, final
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException

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


@final
class FlowContext:
    """The context variables of the flow that makes it, through which Prefect finds the flow run from any thread."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()

    def call(self, function: Callable[P, R], *arguments: P.args, **keywords: P.kwargs) -> R | None:
        """Call `function` as `unless_away` does, within the flow's context."""
        return self._context.copy().run(lambda: unless_away(function, *arguments, **keywords))


@final
class ProgressBar:
    """The flow run's progress bar. It is moved from any thread; the caller serialises the calls."""

    def __init__(self) -> None:
        self._flow = FlowContext()
        self._artifact: UUID | None = None

    def begin(self, percent: float, description: str) -> None:
        """Show the bar."""
        self._artifact = self._flow.call(create_progress_artifact, percent, key="progress", description=description)

    def move(self, percent: float, **description: Any) -> None:
        """Move the bar, and change its `description` where one is given; nothing where it could not be shown."""
        if self._artifact is not None:
            self._flow.call(update_progress_artifact, self._artifact, percent, **description)
