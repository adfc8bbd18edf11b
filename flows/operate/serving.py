"""Which version of each arm serves, by the number that MLflow shows, and what a person changed of it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.errors import StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from simulator.production.lineage import LineageState
    from simulator.production.registry.base import Ledger, Registry, RunHead
    from simulator.records import LineageKey


def serving_words(registry: Registry, ledger: Ledger, head: RunHead) -> tuple[str, list[str]]:
    """Return `main: version 3` for every arm, and what a person changed in the registry that waits for a decision."""
    from simulator.loop.resume import states_of

    serves, asked = [], []
    for arm in dict.fromkeys(key.arm for key in head.lineages):
        for key, state in states_of(ledger, head, arm).items():
            if key.control == "none":
                serves.append(f"{arm}: {_version(registry, key, state)}")
            asked += by_hand(registry, key, state) + registry.put_back(key, state)
    return ", ".join(serves), asked


def by_hand(registry: Registry, key: LineageKey, state: LineageState) -> list[str]:
    """Say what people changed in the registry of a lineage, and what becomes of it."""
    words = registry.missing(key, state)
    try:
        to = registry.moved(key, state)
    except StoreUnavailableError:
        raise
    except StoreError as error:
        return [*words, str(error)]
    if to is None:
        return words
    number = registry.numbers(key)[to]
    return [
        *words,
        f"the alias 'champion' of '{key.name}' was moved by hand to version {number}, which the next period adopts as "
        "a roll-back",
    ]


def _version(registry: Registry, key: LineageKey, state: LineageState) -> str:
    if state.champion is None:
        return "none yet"
    return f"version {registry.numbers(key).get(state.champion, state.champion + 1)}"
