"""Where the lineages of an arm stand by the ledger, and how the stores are brought back there after a kill."""

from __future__ import annotations

from simulator.errors import StoreError
from simulator.production.lineage import LineageState
from simulator.production.registry.base import Entry, Ledger, Registry, RunHead
from simulator.records import LineageKey


def states_of(ledger: Ledger, head: RunHead, arm: str) -> dict[LineageKey, LineageState]:
    """Return what each lineage of an arm goes on from, the arm's own first: the periods that all have committed.

    A free twin decides for itself: the operator's actions are not its. A twin whose training diverged stays where it
    ended, and the arm does not wait for it.
    """
    return {key: state for key, (state, _) in resumed(ledger, head, arm).items()}


def resumed(ledger: Ledger, head: RunHead, arm: str) -> dict[LineageKey, tuple[LineageState, list[Entry]]]:
    """Return what `states_of` does, and the committed periods that each state was made of."""
    entries = {key: ledger.entries(key) for key in head.lineages if key.arm == arm}
    actions = ledger.actions(arm)
    ended = {end.lineage for end in ledger.ends()}
    kept = {key: len(committed) for key, committed in entries.items() if key.control == "none" or key not in ended}
    done = min(kept.values())
    for key, count in kept.items():
        if count > done + 1:  # an arm and its twins commit a period together
            least = min(kept, key=lambda one: kept[one])
            raise StoreError(
                f"expected '{least.name}' of run '{head.run}' to have committed as many periods as '{key.name}' "
                f"({count}), or one less after a kill, got {done}: what it committed was removed; nothing is "
                f"played or taken back: restore it, or remove the run with `ebbdoor delete {head.run}`"
            )
    found = {}
    for key, committed in entries.items():
        followed = () if key.control == "free" else actions
        records = [entry.record for entry in committed[:done]]
        found[key] = LineageState.of(records, followed, max(0, len(committed) - done)), committed[:done]
    return found


def bring_back(registry: Registry, ledger: Ledger, key: LineageKey, state: LineageState) -> None:
    """Remove what a killed process left uncommitted of a lineage; finish the roll-backs it left undone. Idempotent."""
    registry.forget_after(key, state.last, state)
    ledger.forget_after(key, state.last)
    for count, action in enumerate(state.actions, start=1):
        if action.to is not None and action.period == state.last:
            registry.roll_back(key, action, LineageState.of(state.records, state.actions[:count]))
