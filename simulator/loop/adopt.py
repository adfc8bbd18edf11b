"""What a person let serve in MLflow itself, past ebbdoor: adopted as an operator's roll-back, before a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from simulator.loop.actions import roll_back
from simulator.loop.resume import states_of
from simulator.production.registry.base import Ledger, Registry, RunHead
from simulator.records import Action


def adopt_moves(
    head: RunHead,
    registry: Registry,
    ledger: Ledger,
    say: Callable[[str], None] = lambda _: None,
    beside: Mapping[str, Any] | None = None,
) -> list[Action]:
    """Write into the ledger, as roll-backs, where a person moved the alias `champion` of the run's arms.

    The caller holds the run and has opened both stores. `beside`: see `roll_back`. Raises `StoreError`, which says how
    to undo it, for what is no roll-back: a serving version that was deleted, one that is not ours or never served.
    """
    found = []
    for arm in dict.fromkeys(key.arm for key in head.lineages):
        for key, state in states_of(ledger, head, arm).items():
            to = registry.moved(key, state)
            if to is None or state.champion is None:
                continue
            numbers = registry.numbers(key)
            reason = f"moved by hand in MLflow from version {numbers[state.champion]} to {numbers[to]}"
            found.append(roll_back(head, registry, ledger, arm, to, reason, beside=beside))
            say(f"arm {arm} of run {head.run}: {reason}; adopted as a roll-back")
            break  # its twins have followed
    return found
