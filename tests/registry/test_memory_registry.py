"""The in-memory registry behaves as the one in MLflow does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.errors import StoreError
from simulator.production.registry.aliases import aliases
from simulator.production.registry.base import RunHead
from simulator.production.registry.memory import MemoryRegistry
from simulator.production.training.weights import weights_digest
from simulator.records import Judgement, LineKey

MAIN = LineKey(arm="main")


@pytest.mark.parametrize(
    ("serving", "candidate", "expected"),
    [
        ({}, None, {}),
        ({0: 0}, 0, {"champion": 0}),
        ({0: 0, 1: 1}, 1, {"champion": 1, "previous": 0}),
        ({0: 0, 1: 1, 2: 1}, 2, {"champion": 1, "previous": 0, "candidate": 2}),
        ({0: 0, 1: 1, 2: 1, 3: 1}, None, {"champion": 1, "previous": 0}),
        ({0: 0, 1: 1, 2: 0}, None, {"champion": 0, "previous": 1}),
        ({2: 3, 0: 0, 1: 1}, 3, {"champion": 3, "previous": 1}),
    ],
)
def test_aliases_on_hand_worked_histories(serving: dict[int, int], candidate: int | None, expected: Any) -> None:
    assert aliases(serving, candidate) == expected


def test_versions_aliases_and_forgetting(
    head: RunHead, payload: Callable[..., Any], record: Callable[..., Any]
) -> None:
    registry = MemoryRegistry()
    registry.open(head)
    for period in range(2):
        registry.register(payload(period))
        registry.publish(record(period), {})
    rejected = Judgement(action="rejected", why="worse", serving=1)
    registry.register(payload(2))
    registry.publish(record(2, version=1, candidate=2, judgement=rejected), {})
    assert registry.aliases(MAIN) == {"champion": 1, "previous": 0, "candidate": 2}
    registry.forget_after(MAIN, 1)
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


def test_unknown_versions_and_lines_raise(head: RunHead, record: Callable[..., Any]) -> None:
    registry = MemoryRegistry()
    with pytest.raises(StoreError, match="open the run"):
        registry.weights(MAIN, 0)
    registry.open(head)
    with pytest.raises(StoreError, match="version 0 of 'main' to be stored, got none"):
        registry.weights(MAIN, 0)
    with pytest.raises(StoreError, match="version 0 of 'main' to be registered"):
        registry.publish(record(0), {})
