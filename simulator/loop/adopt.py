"""What a person let serve in MLflow itself, past ebbdoor: adopted as an operator's roll-back before the next period."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from simulator.loop.actions import roll_back
from simulator.loop.resume import states_of
from simulator.loop.stages import RunningLineage
from simulator.production.lineage import LineageState
from simulator.production.registry.base import Ledger, Registry, RunHead
from simulator.records import Action, LineageKey

_LOGGER = logging.getLogger("ebbdoor.stores")


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
            found.append(_adopt(head, registry, ledger, key, state, to, say, beside))
            break  # its twins have followed
    return found


def adopt_meanwhile(
    head: RunHead,
    registry: Registry,
    ledger: Ledger,
    lock: threading.Lock,
    arm: RunningLineage,
    twins: Sequence[RunningLineage],
    say: Callable[[str], None] = _LOGGER.warning,
) -> None:
    """Do as `adopt_moves` does between two periods of an arm, while a process plays it and its `twins`."""
    for lineage in (arm, *twins):
        with lock:
            to = registry.moved_meanwhile(lineage.key, lineage.state)
            if to is None:
                continue
            action = _adopt(head, registry, ledger, lineage.key, lineage.state, to, say)
        for each in (arm, *twins):
            if each.key.control != "free":
                each.follow(action)
        return


def _adopt(
    head: RunHead,
    registry: Registry,
    ledger: Ledger,
    key: LineageKey,
    state: LineageState,
    to: int,
    say: Callable[[str], None],
    beside: Mapping[str, Any] | None = None,
) -> Action:
    numbers = registry.numbers(key)
    assert state.champion is not None  # before the first period nothing serves, and `moved` is None
    reason = f"moved by hand in MLflow from version {numbers[state.champion]} to {numbers[to]}"
    action = roll_back(head, registry, ledger, key.arm, to, reason, beside=beside)
    say(f"arm {key.arm} of run {head.run}: {reason}; adopted as a roll-back")
    return action
