"""The in-memory registry behaves as the one in MLflow does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.errors import StoreError
from simulator.production.lineage import LineageState
from simulator.production.registry.base import RunHead
from simulator.production.registry.memory import MemoryRegistry
from simulator.records import Action, Judgement, LineageKey
from simulator.tensors import weights_digest

MAIN = LineageKey(arm="main")


def test_versions_aliases_and_forgetting(
    head: RunHead, payload: Callable[..., Any], record: Callable[..., Any]
) -> None:
    registry = MemoryRegistry()
    registry.open(head)
    for period in range(2):
        registry.register(payload(period))
        registry.publish(record(period), {}, LineageState(tuple(range(period + 1)), period))
    rejected = Judgement(action="rejected", why="worse", serving=1)
    registry.register(payload(2))
    registry.publish(record(2, version=1, candidate=2, judgement=rejected), {}, LineageState((0, 1, 1), 2))
    assert registry.aliases(MAIN) == {"champion": 1, "previous": 0, "candidate": 2}
    registry.forget_after(MAIN, 1, LineageState((0, 1), 1))
    assert registry.aliases(MAIN) == {"champion": 1, "previous": 0}
    assert sorted(registry.versions[MAIN]) == [0, 1]
    weights = registry.weights(MAIN, 1)
    next(iter(weights.values())).add_(1.0)  # a copy: the stored ones stay
    assert weights_digest(registry.weights(MAIN, 1)) == weights_digest(payload(1).weights)
    registry.finish("finished", {"a": "b"})
    assert (registry.status, registry.files) == ("finished", {"a": "b"})
    registry.delete("another")
    assert registry.versions
    registry.delete("r1")
    assert not registry.versions


def test_opening_again_keeps_what_was_stored(
    head: RunHead, payload: Callable[..., Any], record: Callable[..., Any]
) -> None:
    registry = MemoryRegistry()
    registry.open(head)
    assert (registry.aliases(MAIN), registry.status) == ({}, "open")
    assert registry.register(payload(0)) == {"memory": "r1/main/0"}
    registry.publish(record(0), {}, LineageState((0,), 0))
    registry.open(head)
    assert registry.aliases(MAIN) == {"champion": 0}
    assert sorted(registry.versions[MAIN]) == [0]


def test_what_stands_beyond_the_ledger_is_named(
    head: RunHead, payload: Callable[..., Any], record: Callable[..., Any]
) -> None:
    registry = MemoryRegistry()
    registry.open(head)
    for period in range(2):
        registry.register(payload(period))
        registry.publish(record(period), {}, LineageState(tuple(range(period + 1)), period))
    assert registry.differences(MAIN, 1, LineageState((0, 1), 1)) == []
    assert registry.leftovers() == registry.links() == {}
    assert registry.differences(MAIN, 0, LineageState((0,), 0)) == ["version 2 of 'main'", "the aliases of 'main'"]
    assert registry.differences(MAIN, 1, LineageState((0, 0), 1)) == ["the aliases of 'main'"]


def test_unknown_versions_and_lines_raise(head: RunHead, record: Callable[..., Any]) -> None:
    registry = MemoryRegistry()
    with pytest.raises(StoreError, match="open the run"):
        registry.weights(MAIN, 0)
    registry.open(head)
    with pytest.raises(StoreError, match="version 1 of 'main' to be stored, got none"):
        registry.weights(MAIN, 0)
    with pytest.raises(StoreError, match="version 1 of 'main' to be registered"):
        registry.publish(record(0), {}, LineageState((0,), 0))


def test_a_roll_back_moves_the_aliases(head: RunHead, payload: Callable[..., Any], record: Callable[..., Any]) -> None:
    registry = MemoryRegistry()
    registry.open(head)
    for period in range(2):
        registry.register(payload(period))
        registry.publish(record(period), {}, LineageState(tuple(range(period + 1)), period))
    back = Action(run="r1", arm="main", period=1, number=0, kind="roll back", to=0, reason="slow")
    registry.roll_back(MAIN, back, LineageState((0, 1, 0)))
    assert registry.aliases(MAIN) == {"champion": 0, "previous": 1}
    with pytest.raises(StoreError, match="version 6 of 'main'"):
        registry.roll_back(MAIN, back, LineageState((0, 1, 5)))
