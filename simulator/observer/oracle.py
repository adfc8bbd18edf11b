"""The labelled upper bound: a filter that knows which rows the attacker touched. No defender has it."""

from __future__ import annotations

from typing import final

from torch import Tensor

from defenses.base import Context, Filter, FilterResult
from simulator.world.attacks.base import CLEAN


@final
class OracleFilter(Filter):
    """Drops every row whose true role is not clean: poison and cover.

    The timeline builds one for each window, with the true roles (N,) in the window's order, and injects it into
    `Defenders.filter(..., extra={"oracle": ...})`. It has no entry point, runs in our own process and reads nothing of
    the context; the roles are in no context, so no other defense can reach them.
    """

    def __init__(self, roles: Tensor) -> None:
        self._roles = roles

    def filter(self, context: Context) -> FilterResult:
        """Return a `keep` that holds for the clean rows; `ValueError` when the roles are not the window's."""
        rows = 0 if context.window is None else len(context.window)
        if len(self._roles) != rows:
            raise ValueError(f"expected a role for each of {rows} rows, got {len(self._roles)}; build one per window")
        return FilterResult((self._roles == CLEAN).cpu())
