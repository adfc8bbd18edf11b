"""Which versions must be at hand for one to serve: those to go back to, and what these are measured against."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ANCESTORS_KEPT", "ancestry"]

#: earlier promoted versions kept at hand, for the gate's roll-back rule
ANCESTORS_KEPT = 3


def ancestry(parents: Mapping[int, int | None], ordinal: int) -> list[int]:
    """Return `ordinal`, its nearest ancestors and the parent of the last of them, by ordinal -> parent."""
    found = [ordinal]
    while len(found) < ANCESTORS_KEPT + 2:
        parent = parents[found[-1]]
        if parent is None:
            break
        found.append(parent)
    return found
