"""Which versions the aliases name, as a function of what served: the same in every registry."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["aliases"]


def aliases(serving: Mapping[int, int], candidate: int | None) -> dict[str, int]:
    """Return alias -> ordinal: `champion`, `previous` (served last before it), `candidate` (only if not promoted).

    `serving` maps each published period to the ordinal that served after it; `candidate` was trained in the last one.
    """
    if not serving:
        return {}
    history = [serving[period] for period in sorted(serving)]
    champion = history[-1]
    named = {"champion": champion}
    others = [ordinal for ordinal in history if ordinal != champion]
    if others:
        named["previous"] = others[-1]
    if candidate is not None and candidate != champion:
        named["candidate"] = candidate
    return named
