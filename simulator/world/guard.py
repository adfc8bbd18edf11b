"""Images that many are shown: the same each time, to the last bit."""

from __future__ import annotations

from typing import final

from simulator.batch import Batch
from simulator.errors import PluginError

__all__ = ["Held"]


@final
class Held:
    """A batch kept to be shown again. `name` is what it is called when somebody has changed it in place.

    Torch counts each tensor's changes in place, those through a view of it too; nothing is copied or compared. What is
    written through NumPy or `.data` is not counted.
    """

    def __init__(self, name: str, batch: Batch) -> None:
        self._name = name
        self._batch = batch
        self._counts = _counts(batch)

    def show(self) -> Batch:
        """Return the batch; raise `PluginError` when it is no longer what it was."""
        if _counts(self._batch) != self._counts:
            raise PluginError(
                f"expected {self._name} to stay as they were, got a change in place; "
                "let the probe or attack that makes it work on a copy, `ebbdoor check` tells which one does not"
            )
        return self._batch


def _counts(batch: Batch) -> tuple[int, ...]:
    return tuple(tensor._version for tensor in (batch.images, batch.labels, batch.ids))
