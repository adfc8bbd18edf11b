"""The words of `ebbdoor status` and `ebbdoor reconcile`: where a run stands, what was done to it, what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flows.runs.due import due_of
from flows.runs.folder import RunFolder, typed

if TYPE_CHECKING:
    from simulator.production.registry.base import RunHead, StoredRun
    from simulator.system.holder import Holder


def updates(state: StoredRun) -> int:
    """Return how many updates every lineage that goes on has committed; -1 when not even the base training is.

    When none goes on, because training diverged in every arm: those of the lineage that came furthest.
    """
    return min(state.going.values(), default=max(state.committed.values(), default=0)) - 1


def over(state: StoredRun, periods: int) -> bool:
    """Return whether no period is left: all are committed in every lineage that has not ended before."""
    return updates(state) >= periods or (bool(state.ended) and not state.going)


def committed_words(state: StoredRun, periods: int) -> str:
    """Return `3 of 6`: updates committed of those asked for, whose they are, and what has diverged.

    Where lineages have not committed equally many, the lineage is named whose count it is.
    """
    done = updates(state)
    count = f"{done} of {periods}" if done >= 0 else f"not even period 0, of {periods}"
    words = [count + _whose(state)]
    return "; ".join([*words, *(f"'{end.lineage.name}' diverged in period {end.period}" for end in state.ended)])


def _whose(state: StoredRun) -> str:
    """Return whose updates `updates` counts; nothing where all lineages have committed as many."""
    counts = state.going or state.committed
    if len(set(counts.values())) < 2:
        return ""
    if state.going:
        return f" in '{min(counts, key=lambda line: counts[line])}', which is furthest behind"
    return f" in '{max(counts, key=lambda line: counts[line])}', which is furthest ahead"


def holder_words(holder: Holder | None) -> str:
    """Return who holds a run, and whether it can be known to be alive."""
    if holder is None:
        return "nobody"
    if not holder.is_here:
        return f"process {holder.pid} on host '{holder.host}', unknown"
    return f"process {holder.pid}, here, {'dead' if holder.is_dead else 'alive'}"


def resume_words(run: str, place: RunFolder | None) -> str:
    """Return the command that goes on with a run. One whose folder is not in this workspace is found by its name."""
    if place is not None:
        return f"`ebbdoor resume {typed(place.folder)}`"
    return f"`ebbdoor resume DIR`, where DIR is the folder of run {run}: it is not in this workspace"


def next_words(state: StoredRun, head: RunHead, place: RunFolder | None) -> str:
    """Return what to do about a run that no process plays."""
    if over(state, int(head.scenario["periods"])):
        return "nothing: finished"
    if head.live is not None and updates(state) >= 0:
        return due_of(head, state.committed, state.ended).words
    return resume_words(state.run, place)


@dataclass(frozen=True, slots=True)
class Ask:
    """`dry_run`: say what would be done; `take_over`: the process that holds a run on another host has ended.

    `restore`: the run in whose registry what people changed by hand is undone.
    """

    dry_run: bool = False
    take_over: bool = False
    restore: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One run in one store: what the store called it, what it calls it now, what was done, what to do next."""

    where: Literal["MLflow", "Prefect", "folder"]
    run: str
    was: str
    now: str
    done: str
    next: str


def left_alone(holder: Holder | None, ask: Ask) -> tuple[str, str] | None:
    """Return why a run is left alone and what to do next; None when no process holds it, or one that may be ignored."""
    if holder is None or holder.is_dead or (ask.take_over and not holder.is_here):
        return None
    if holder.is_here:
        return f"left alone: being worked on by process {holder.pid}", "nothing: wait for it, or end that process"
    return (
        f"left alone: held by process {holder.pid} on host '{holder.host}', of which nothing is known here",
        "when that process has ended: `ebbdoor reconcile --take-over`",
    )
