"""Where a run stands, in the words that `ebbdoor status` and `ebbdoor reconcile` share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.live.due import due_of
from flows.places import Place, shown

if TYPE_CHECKING:
    from simulator.production.registry.base import RunHead, RunState
    from simulator.production.registry.holder import Holder

__all__ = ["committed_words", "holder_words", "next_words", "resume_words", "updates"]


def updates(state: RunState) -> int:
    """Return how many updates every line has committed; -1 when not even the base training is."""
    return min(state.committed.values(), default=0) - 1


def committed_words(state: RunState, periods: int) -> str:
    """Return `3 of 6`: updates committed in every line, of those that the scenario asks for."""
    done = updates(state)
    return f"{done} of {periods}" if done >= 0 else f"not even period 0, of {periods}"


def holder_words(holder: Holder | None) -> str:
    """Return who holds a run, and whether it can be known to be alive."""
    if holder is None:
        return "nobody"
    if not holder.is_here:
        return f"process {holder.pid} on host '{holder.host}', unknown"
    return f"process {holder.pid}, here, {'dead' if holder.is_dead else 'alive'}"


def resume_words(run: str, place: Place | None) -> str:
    """Return the command that goes on with a run. One whose folder is not in this workspace is found by its name."""
    if place is not None:
        return f"`ebbdoor resume {shown(place.folder)}`"
    return f"`ebbdoor resume` with its folder, or deployment advance/scheduled with run={run}"


def next_words(state: RunState, head: RunHead, place: Place | None) -> str:
    """Return what to do about a run that nobody plays."""
    if updates(state) >= int(head.scenario["periods"]):
        return "nothing: finished"
    if head.live is not None and updates(state) >= 0:
        return due_of(head, state.committed).words
    return resume_words(state.run, place)
