"""Where a lineage of versions stands, by its committed records alone: which served, and which ones aliases name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

from simulator.records import Action, PeriodRecord

#: earlier promoted versions kept in memory, for the gate's roll-back rule
ANCESTORS_KEPT = 3
#: the names of our aliases
CHAMPION, PREVIOUS, CHALLENGER, CANDIDATE = ALIASES = ("champion", "previous", "challenger", "candidate")


@final
@dataclass(frozen=True, slots=True)
class LineageState:
    """A lineage after its last committed period and the operator's actions that followed it.

    `served`: the ordinals that served, in order, one a period and one a roll-back by an operator. `candidate` was
    trained in the last period, `challenger` is in shadow after it; None if none. `records` are the committed periods;
    only the last keeps its `state`, which is long. `surplus` counts periods that this lineage has committed and another
    of its arm has not: a fresh process takes them back.
    """

    served: tuple[int, ...] = ()
    candidate: int | None = None
    challenger: int | None = None
    records: tuple[PeriodRecord, ...] = field(default=(), compare=False, repr=False)
    actions: tuple[Action, ...] = field(default=(), compare=False, repr=False)
    surplus: int = field(default=0, compare=False)

    @staticmethod
    def of(records: Sequence[PeriodRecord], actions: Sequence[Action] = (), surplus: int = 0) -> LineageState:
        """Return the state after `records` and the `actions` in between, which are the arm's.

        For a lineage that does not follow its arm (a free twin) pass no actions.
        """
        state = LineageState(surplus=surplus)
        for record in records:
            state = state.after(record)
            for action in actions:
                if action.period == record.period:
                    state = state.acted(action)
        return state

    def after(self, record: PeriodRecord) -> LineageState:
        """Return the state after one more committed period."""
        before = tuple(old.model_copy(update={"state": {}}) for old in self.records[-1:])
        return replace(
            self,
            served=(*self.served, record.version),
            candidate=record.candidate,
            challenger=record.challenger,
            records=(*self.records[:-1], *before, record),
        )

    def acted(self, action: Action) -> LineageState:
        """Return the state after an operator's action: a roll-back ends a shadow."""
        done = replace(self, actions=(*self.actions, action))
        return done if action.to is None else replace(done, served=(*self.served, action.to), challenger=None)

    @property
    def last(self) -> int:
        """The last committed period; -1 when there is none."""
        return len(self.records) - 1

    @property
    def committed(self) -> frozenset[int]:
        """The versions that were trained in committed periods."""
        return frozenset(record.candidate for record in self.records if record.candidate is not None)

    @property
    def next_ordinal(self) -> int:
        """The next candidate's ordinal: how many versions were trained so far."""
        return sum(record.candidate is not None for record in self.records)

    @property
    def since(self) -> tuple[Action, ...]:
        """The operator's actions after the last committed period."""
        return tuple(action for action in self.actions if action.period == self.last)

    @property
    def champion(self) -> int | None:
        """The version that serves."""
        return self.served[-1] if self.served else None

    @property
    def previous(self) -> int | None:
        """The version that served last before the champion."""
        return next((ordinal for ordinal in reversed(self.served) if ordinal != self.champion), None)

    @property
    def rolled_back(self) -> frozenset[int]:
        """The versions that were left by a roll-back, by the gate or an operator, and did not serve again since."""
        left: set[int] = set()
        before: int | None = None
        for record in self.records:
            serving = record.version
            if record.judgement.action == "rolled back" and before is not None:
                left.add(before)
            left.discard(serving)
            for action in (action for action in self.actions if action.period == record.period):
                if action.to is not None:
                    left.add(serving)
                    serving = action.to
                    left.discard(serving)
            before = serving
        return frozenset(left)

    def aliases(self) -> dict[str, int]:
        """Return alias -> ordinal: `champion`, `previous`, `challenger`, and `candidate` if it never served."""
        if self.champion is None:
            return {}
        rejected = None if self.candidate in self.served else self.candidate
        named = {CHAMPION: self.champion, PREVIOUS: self.previous, CHALLENGER: self.challenger, CANDIDATE: rejected}
        return {alias: ordinal for alias, ordinal in named.items() if ordinal is not None}


def ancestry(parents: Mapping[int, int | None], ordinal: int) -> list[int]:
    """Return `ordinal`, its nearest ancestors and the parent of the last of them, by ordinal -> parent.

    These must be in memory for a version to serve: the gate may roll back to an ancestor, and measures it against its
    parent.
    """
    found = [ordinal]
    while len(found) < ANCESTORS_KEPT + 2:
        parent = parents[found[-1]]
        if parent is None:
            break
        found.append(parent)
    return found
