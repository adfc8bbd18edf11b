"""When a backdoor is alive, when it is erased and when it has come back: the one definition of all three.

Each period that a version serves is one reading of the backdoor: at the threshold or above, below it, or not known.

- The backdoor is *planted* by the first period at the threshold or above.
- It is *erased* by the first of `CONFIRMED_BY` periods in a row below the threshold, whichever versions served in them.
- It has *come back* with the first period at the threshold or above after an erasure; only an erasure ends that again.

At the end of the readings it is `alive` (the last period is at the threshold or above), `erased`, or `censored`: below,
but for fewer periods than an erasure needs. docs/decisions/0015-when-a-backdoor-is-erased.md gives the reasons.

Where a period has no reading, it may have been either: the functions then say what all ways to fill the gaps share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

#: periods in a row below the threshold that make an erasure
CONFIRMED_BY = 2

#: what is said of a backdoor after its last period
State = Literal["alive", "erased", "censored", "unknown", "not planted"]

#: periods in a row below the threshold, counted up to `CONFIRMED_BY`; never planted is one less than none
_UNPLANTED, _ALIVE = -1, 0


def erasure(alive: Iterable[bool]) -> int | None:
    """Return the index of the first period of the first erasure; None when there is none."""
    below = _UNPLANTED
    for index, now in enumerate(alive):
        below = _after(below, now)
        if below == CONFIRMED_BY:
            return index - CONFIRMED_BY + 1
    return None


def may_begin_erasure(alive: Sequence[bool | None]) -> bool:
    """Return whether the last period is below and may be the first period of the first erasure.

    It is below for certain, some earlier period was alive for certain, and no erasure is certain to have begun before.
    """
    if not alive or alive[-1] is not False or True not in alive:
        return False
    paths = {(_UNPLANTED, False)}  # how many periods in a row are below, and whether it was erased until then
    for now in alive[:-1]:
        paths = {
            (after, erased or after == CONFIRMED_BY)
            for below, erased in paths
            for one in _readings(now)
            for after in (_after(below, one),)
        }
    return (_ALIVE, False) in paths


def state_at_the_end(alive: Sequence[bool | None]) -> State:
    """Return what is known of the backdoor after the last of at least one period."""
    reached = {_UNPLANTED}
    for now in alive:
        reached = {_after(below, one) for below in reached for one in _readings(now)}
    states = {_STATES.get(below, "censored") for below in reached}
    return states.pop() if len(states) == 1 else "unknown"


def returns(alive: Sequence[bool | None]) -> tuple[tuple[int, ...] | None, tuple[int, int]]:
    """Return the indices of the periods in which it came back (None: not known), and the fewest and most times."""
    paths, periods, sure = {(_UNPLANTED, 0)}, [], True
    for index, now in enumerate(alive):
        back = {below == CONFIRMED_BY and one for below, _ in paths for one in _readings(now)}
        periods += [index] if back == {True} else []
        sure = sure and len(back) == 1
        paths = {
            (_after(below, one), count + (below == CONFIRMED_BY and one))
            for below, count in paths
            for one in _readings(now)
        }
    counts = [count for _, count in paths]
    return tuple(periods) if sure else None, (min(counts), max(counts))


_STATES: dict[int, State] = {_UNPLANTED: "not planted", _ALIVE: "alive", CONFIRMED_BY: "erased"}


def _after(below: int, alive: bool) -> int:
    """Return how many periods in a row are below after one more."""
    if alive:
        return _ALIVE
    return below if below == _UNPLANTED else min(below + 1, CONFIRMED_BY)


def _readings(alive: bool | None) -> tuple[bool, ...]:
    return (True, False) if alive is None else (alive,)
