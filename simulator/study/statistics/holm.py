"""Holm's correction: the chance of even one false "yes" among all claims stays below alpha, however they depend."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["holm"]


def holm(ps: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return each claim's p corrected over all claims (Holm, Scand. J. Stat. 1979), in the order given.

    A claim without a p (None) keeps None, but counts: what could not be tested was claimed all the same. Raises
    `ValueError` for a p outside [0, 1].
    """
    wrong = {name: p for name, p in ps.items() if p is not None and not 0 <= p <= 1}
    if wrong:
        raise ValueError(f"expected every p to be in [0, 1], got {wrong}; correct them")
    corrected: dict[str, float] = {}
    highest = 0.0
    tested = {name: p for name, p in ps.items() if p is not None}
    for rank, name in enumerate(sorted(tested, key=lambda name: tested[name])):
        highest = max(highest, min(1.0, (len(ps) - rank) * tested[name]))
        corrected[name] = highest
    return {name: corrected.get(name) for name in ps}
