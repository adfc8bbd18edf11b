"""Which classes a lineage was trained on so far, by the labels that arrived with its batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from torch import Tensor


@final
class SeenClasses:
    """Collects the labels of each period's batch, and counts them once the period was trained on.

    A run that was begun before this was recorded does not know: then `after` returns None to its end.
    """

    def __init__(self) -> None:
        self._trained: set[int] | None = set()
        self._waiting: dict[int, list[int]] = {}

    def arrived(self, period: int, labels: Tensor) -> None:
        """Remember the labels int64 (N,) of the batch of `period`."""
        self._waiting[period] = labels.unique().tolist()

    def after(self, trained: Sequence[int]) -> tuple[int, ...] | None:
        """Return the classes that the periods `trained`, all so far, have rows of, ascending; None: not known."""
        if self._trained is None:
            return None
        for period in self._waiting.keys() & set(trained):
            self._trained.update(self._waiting.pop(period))
        return tuple(sorted(self._trained))

    def state(self) -> dict[str, Any]:
        """Return what a fresh process needs, as JSON values."""
        waiting = [[period, classes] for period, classes in sorted(self._waiting.items())]
        return {"trained": None if self._trained is None else sorted(self._trained), "waiting": waiting}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Continue from what `state` returned; None: it was not recorded."""
        trained = None if state is None else state["trained"]
        self._trained = None if trained is None else set(trained)
        self._waiting = {} if state is None else {period: list(classes) for period, classes in state["waiting"]}
