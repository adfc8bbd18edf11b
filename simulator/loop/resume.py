"""Where the lineages of an arm stand by the ledger, and how the stores are brought back there after a kill."""

from __future__ import annotations

from simulator.errors import StoreError
from simulator.production.lineage import LineageState
from simulator.production.registry.base import Entry, Ledger, Registry, RunHead
from simulator.records import LineageKey


def states_of(ledger: Ledger, head: RunHead, arm: str) -> dict[LineageKey, LineageState]:
    """Return what each lineage of an arm goes on from, the arm's own first: the periods that all have committed.

    A free twin decides for itself: the operator's actions are not its.
    """
    return {key: state for key, (state, _) in resumed(ledger, head, arm).items()}


def resumed(ledger: Ledger, head: RunHead, arm: str) -> dict[LineageKey, tuple[LineageState, list[Entry]]]:
    """Return what `states_of` does, and the committed periods that each state was made of."""
    entries = {key: ledger.entries(key) for key in head.lineages if key.arm == arm}
    actions = ledger.actions(arm)
    done = min(len(committed) for committed in entries.values())
    for key, committed in entries.items():
        if len(committed) > done + 1:  # an arm and its twins commit a period together
            least = min(entries, key=lambda one: len(entries[one]))
            raise StoreError(
                f"expected '{least.name}' of run '{head.run}' to have committed as many periods as '{key.name}' "
                f"({len(committed)}), or one less after a kill, got {done}: what it committed was removed; nothing is "
                f"played or taken back: restore it, or remove the run with `ebbdoor delete {head.run}`"
            )
    found = {}
    for key, committed in entries.items():
        followed = () if key.control == "free" else actions
        records = [entry.record for entry in committed[:done]]
        found[key] = LineageState.of(records, followed, len(committed) - done), committed[:done]
    return found


def bring_back(registry: Registry, ledger: Ledger, key: LineageKey, state: LineageState) -> None:
    """Remove what a killed process left uncommitted of a lineage; finish the roll-backs it left undone. Idempotent."""
    registry.forget_after(key, state.last, state)
    ledger.forget_after(key, state.last)
    for count, action in enumerate(state.actions, start=1):
        if action.to is not None and action.period == state.last:
            registry.roll_back(key, action, LineageState.of(state.records, state.actions[:count]))
