"""Where the lines of an arm stand by the ledger, and how the stores are brought back there after a kill."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.production.registry.base import Entry, Ledger, Registry, RunHead
from simulator.production.registry.standing import Standing, standing
from simulator.records import Action, LineageKey

__all__ = ["LinePast", "bring_back", "past_of"]


@dataclass(frozen=True, slots=True)
class LinePast:
    """What a line goes on from: the periods that all lines of its arm have committed, and what was done from outside.

    `beyond` counts periods that this line has committed and another of its arm has not: they are taken back.
    """

    key: LineageKey
    entries: tuple[Entry, ...]
    actions: tuple[Action, ...] = ()
    beyond: int = 0

    @property
    def last(self) -> int:
        """The last period; -1 when there is none."""
        return len(self.entries) - 1

    @property
    def now(self) -> Standing:
        """Where the line stands."""
        return self.after(len(self.actions))

    @property
    def since(self) -> tuple[Action, ...]:
        """What was done from outside after the last period."""
        return tuple(action for action in self.actions if action.period == self.last)

    def after(self, actions: int) -> Standing:
        """Where the line stands after the first `actions` of what was done from outside."""
        return standing([entry.record for entry in self.entries], self.actions[:actions])


def past_of(ledger: Ledger, head: RunHead, arm: str) -> list[LinePast]:
    """Return what each line of an arm goes on from, the arm's own first. A free twin decides for itself: no actions."""
    entries = {key: tuple(ledger.entries(key)) for key in head.lineages if key.arm == arm}
    actions = tuple(ledger.actions(arm))
    done = min(len(committed) for committed in entries.values())
    return [
        LinePast(key, committed[:done], () if key.control == "free" else actions, len(committed) - done)
        for key, committed in entries.items()
    ]


def bring_back(registry: Registry, ledger: Ledger, past: LinePast) -> None:
    """Remove what a killed process left uncommitted of a line; do what it left undone of a roll-back. Idempotent."""
    registry.forget_after(past.key, past.last, past.now)
    ledger.forget_after(past.key, past.last)
    for count, action in enumerate(past.actions, start=1):
        if action.to is not None and action.period == past.last:
            registry.roll_back(past.key, action, past.after(count))
