"""Which rows may be replayed, and what a roll-back takes from them.

A platform that rolls a version back does not know which of its rows were at fault. So the rows that the abandoned
versions were the first to be trained on are not replayed any more, unless the scenario keeps them. Periods that a
defense had purged never come back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

from simulator.production.lineage import Parents, abandoned, line_of
from simulator.production.policy import PastPeriod
from simulator.records import ReplayChange
from simulator.scenario.model import Scenario


@final
class ReplayPool:
    """The periods whose rows are not replayed, of those that were trained on."""

    def __init__(self, scenario: Scenario) -> None:
        replay = scenario.recipe.replay
        may_replay = any("retrain" in use.may for use in scenario.defenses)  # by a recipe that a defense asks for
        self._used = replay.share > 0 or may_replay
        self._keeps = replay.after_rollback == "keep"
        self._delay = scenario.stream.label_delay
        self._outside: set[int] = set()
        self._before: set[int] = set()  # at the end of the last period
        self._kept: set[int] = set()
        #: the periods whose rows are gone for good, and why
        self.purged: dict[int, str] = {}
        self._known_purged: set[int] = set()  # at the end of the last period

    def purge(self, period: int, why: str) -> None:
        """Let the rows of a period never be replayed again."""
        self.purged.setdefault(period, why)

    def of(self, trained: Iterable[int]) -> list[int]:
        """Return those of the `trained` periods whose rows may be replayed."""
        return [period for period in trained if period not in self._outside and period not in self.purged]

    def rolled_back(self, parents: Parents, history: Sequence[PastPeriod], left: int | None, to: int) -> None:
        """Take note that version `to` serves again in place of `left`.

        Abandoned are `left` and the versions that it descends from and `to` does not. With their rows go those of every
        version that was fine-tuned from one of them. The rows of `to` and of its ancestors are back in the pool.
        """
        if not self._used or left is None:
            return
        given_up = abandoned(parents, left, to)
        rows = first_trained_on(history, self._delay)
        gone = _periods(rows, (version for version in parents if given_up.intersection(line_of(parents, version))))
        if self._keeps:
            self._kept |= gone
        else:
            self._outside = (self._outside | gone) - _periods(rows, line_of(parents, to))

    def change(self) -> ReplayChange | None:
        """Return what changed since the end of the last period, None if nothing did; this period ends with it."""
        found = ReplayChange(
            left=sorted(self._outside - self._before),
            returned=sorted(self._before - self._outside),
            kept=sorted(self._kept),
            purged=sorted(self.purged.keys() - self._known_purged),
        )
        self._before, self._kept, self._known_purged = set(self._outside), set(), set(self.purged)
        return found if found != ReplayChange() else None

    def state(self) -> dict[str, Any]:
        """Return what a fresh process needs, as JSON values; nothing while all rows may be replayed."""
        purged = {"purged": [list(one) for one in sorted(self.purged.items())]} if self.purged else {}
        return ({"not_replayed": sorted(self._outside)} if self._outside else {}) | purged

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a platform's state that holds what `state` returned."""
        self._outside = set(state.get("not_replayed", ()))
        self.purged = dict(state.get("purged", ()))
        self._before, self._kept, self._known_purged = set(self._outside), set(), set(self.purged)


def first_trained_on(history: Sequence[PastPeriod], delay: int) -> dict[int, tuple[int, ...]]:
    """Return the periods whose rows each version was the first to be trained on, by ordinal.

    `history` are all periods so far. Labels arrive `delay` periods late, those of the base at once.

    >>> first_trained_on([PastPeriod(0, False, True), PastPeriod(1, False, False), PastPeriod(2, False, True)], 0)
    {0: (0,), 1: (1, 2)}
    """
    found: dict[int, tuple[int, ...]] = {}
    waiting: list[int] = []
    for past in history:
        waiting.append(past.period)
        if past.retrained:
            arrived = tuple(period for period in waiting if period == 0 or period <= past.period - delay)
            found[len(found)] = arrived
            waiting = [period for period in waiting if period not in arrived]
    return found


def _periods(rows: Mapping[int, Sequence[int]], versions: Iterable[int]) -> set[int]:
    return {period for version in versions for period in rows.get(version, ())}
