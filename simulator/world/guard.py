"""Guards a cached batch against changes in place."""

from __future__ import annotations

from typing import final

from simulator.batch import Batch
from simulator.errors import PluginError
from simulator.guard.inputs import writes


@final
class GuardedBatch:
    """A batch that is returned many times and must not be changed. `name` is its name in the error's sentence.

    Torch counts each tensor's changes in place, also those through a view; nothing is copied or compared. Changes
    through NumPy or `.data` are not counted.
    """

    def __init__(self, name: str, batch: Batch) -> None:
        self._name = name
        self._batch = batch
        self._writes = writes((batch.images, batch.labels, batch.ids))

    def get(self) -> Batch:
        """Return the batch; raise `PluginError` if it has been changed in place."""
        if writes((self._batch.images, self._batch.labels, self._batch.ids)) != self._writes:
            raise PluginError(
                f"expected {self._name} to stay as they were, got a change in place; "
                "let the probe or attack that makes it work on a copy, `ebbdoor check` tells which one does not"
            )
        return self._batch
