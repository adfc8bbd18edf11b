"""Where a line stands: which versions served, and so which ones the aliases name. The same in every registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.records import Action, PeriodRecord

__all__ = ["Standing", "standing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """`served`: the ordinals that served, in order, one a period and one a roll-back from outside.

    `candidate` was trained in the last period, `challenger` is in shadow after it; None if none.
    """

    served: tuple[int, ...] = ()
    candidate: int | None = None
    challenger: int | None = None

    @property
    def champion(self) -> int | None:
        """The version that serves."""
        return self.served[-1] if self.served else None

    @property
    def previous(self) -> int | None:
        """The version that served last before the champion."""
        return next((ordinal for ordinal in reversed(self.served) if ordinal != self.champion), None)

    def aliases(self) -> dict[str, int]:
        """Return alias -> ordinal: `champion`, `previous`, `challenger`, and `candidate` if it never served."""
        if self.champion is None:
            return {}
        refused = None if self.candidate in self.served else self.candidate
        named = {"champion": self.champion, "previous": self.previous, "challenger": self.challenger}
        return {alias: ordinal for alias, ordinal in {**named, "candidate": refused}.items() if ordinal is not None}


def standing(records: Sequence[PeriodRecord], actions: Sequence[Action] = ()) -> Standing:
    """Return where a line stands after its committed `records` and what was done from outside in between.

    `actions` are the arm's; for a line that does not follow them (a free twin) pass none.
    """
    now = Standing()
    for record in records:
        now = Standing((*now.served, record.version), record.candidate, record.challenger)
        for action in actions:
            if action.period == record.period and action.to is not None:
                now = Standing((*now.served, action.to), now.candidate)
    return now
