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
#: ordinal of a version -> the version that it was fine-tuned from
Parents = Mapping[int, int | None]


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
        """The versions that roll-backs gave up, by the gate or an operator.

        Those between the version that was left and the one that serves since are among them. A version that serves
        again, and its ancestors, are not.
        """
        parents: dict[int, int | None] = {}
        left: set[int] = set()
        serving: int | None = None
        for record in self.records:
            if record.candidate is not None:
                parents[record.candidate] = record.candidate_parent
            if record.judgement.action == "rolled back" and serving is not None:
                left |= abandoned(parents, serving, record.version)
            serving = record.version
            left -= set(line_of(parents, serving))
            for action in (action for action in self.actions if action.period == record.period):
                if action.to is not None:
                    left = (left | abandoned(parents, serving, action.to)) - set(line_of(parents, action.to))
                    serving = action.to
        return frozenset(left)

    def aliases(self) -> dict[str, int]:
        """Return alias -> ordinal: `champion`, `previous`, `challenger`, and `candidate` if it never served."""
        if self.champion is None:
            return {}
        rejected = None if self.candidate in self.served else self.candidate
        named = {CHAMPION: self.champion, PREVIOUS: self.previous, CHALLENGER: self.challenger, CANDIDATE: rejected}
        return {alias: ordinal for alias, ordinal in named.items() if ordinal is not None}


def line_of(parents: Parents, ordinal: int | None) -> list[int]:
    """Return a version and all its ancestors, nearest first; none for None.

    >>> line_of({0: None, 1: 0, 2: 1, 3: 1}, 3)
    [3, 1, 0]
    """
    found: list[int] = []
    while ordinal is not None:
        found.append(ordinal)
        ordinal = parents.get(ordinal)
    return found


def abandoned(parents: Parents, left: int, to: int) -> set[int]:
    """Return what a roll-back from `left` to `to` gives up: `left` and those of its ancestors that `to` is not from.

    >>> sorted(abandoned({0: None, 1: 0, 2: 1, 3: 2}, 3, 1))
    [2, 3]
    """
    return set(line_of(parents, left)) - set(line_of(parents, to))


def reach(parents: Parents, champion: int | None, count: int) -> set[int]:
    """Return the versions that a defense which looks `count` versions back can load.

    The champion with its nearest ancestors, `count` in all, whatever was rejected since; and the latest `count`
    versions, rejected ones too.

    >>> sorted(reach({0: None, 1: 0, 2: 1, 3: 1, 4: 1, 5: 1}, 1, 2))
    [0, 1, 4, 5]
    """
    return {*line_of(parents, champion)[:count], *sorted(parents)[max(0, len(parents) - count) :]}


def ancestry(parents: Parents, ordinal: int) -> list[int]:
    """Return `ordinal`, its nearest ancestors and the parent of the last of them, by ordinal -> parent.

    These must be in memory for a version to serve: the gate may roll back to an ancestor, and measures it against its
    parent.
    """
    return line_of(parents, ordinal)[: ANCESTORS_KEPT + 2]
