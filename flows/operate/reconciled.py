"""What `ebbdoor reconcile` is asked, and what it says of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from simulator.production.registry.holder import Holder

__all__ = ["Ask", "Row", "left_alone"]


@dataclass(frozen=True, slots=True)
class Ask:
    """`dry_run`: say what would be done; `take_over`: the process that holds a run on another host has ended."""

    dry_run: bool = False
    take_over: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One run in one place: what that place called it, what it calls it now, what was done, what to do next."""

    where: Literal["MLflow", "Prefect"]
    run: str
    was: str
    now: str
    done: str
    next: str


def left_alone(holder: Holder | None, ask: Ask) -> tuple[str, str] | None:
    """Return why a run is left alone and what to do next; None when nobody holds it or may be ignored."""
    if holder is None or holder.is_dead or (ask.take_over and not holder.is_here):
        return None
    if holder.is_here:
        return f"left alone: being worked on by process {holder.pid}", "nothing: wait for it, or end that process"
    return (
        f"left alone: held by process {holder.pid} on host '{holder.host}', of which nothing is known here",
        "when that process has ended: `ebbdoor reconcile --take-over`",
    )
