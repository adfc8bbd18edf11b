"""What is played into a registry, and what a user of MLflow then finds, read with MLflow's own client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.production.lineage import LineageState
from simulator.production.registry.base import Ledger, Registry, VersionPayload
from simulator.records import LineageKey, PeriodRecord

Stores = tuple[Registry, Ledger]
Payload = Callable[..., VersionPayload]
Record = Callable[..., PeriodRecord]
MAIN = LineageKey(arm="main")
TWIN = LineageKey(arm="main", control="paced")
NAME = "ebbdoor.r1.main"


def after(record: PeriodRecord, *served: int) -> LineageState:
    """Where a line stands after `record`; by default every version so far was promoted in its turn."""
    return LineageState(served or tuple(range(record.version + 1)), record.candidate, record.challenger)


def play(registry: Registry, payload: VersionPayload, record: PeriodRecord, *served: int, beside: Any = None) -> None:
    registry.register(payload)
    registry.publish(record, beside or {}, after(record, *served))


def runs(client: Any) -> dict[str, Any]:
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    return {run.info.run_name: run for run in client.search_runs([experiment])}


def models(client: Any, query: str | None = None) -> list[Any]:
    return list(client.search_logged_models([client.get_experiment_by_name("ebbdoor").experiment_id], query))


def history(client: Any, run: Any, key: str) -> dict[int, float]:
    points = client.get_metric_history(run.info.run_id, key)
    assert len({point.step for point in points}) == len(points), f"{key} has two points at a step"
    return {point.step: point.value for point in points}


def version(client: Any, ordinal: int, name: str = NAME) -> Any:
    (found,) = client.search_model_versions(f"name = '{name}' AND tags.ordinal = '{ordinal}'")
    return found


def aliases(client: Any, name: str = NAME) -> dict[str, str]:
    named = client.get_registered_model(name).aliases
    return {alias: client.get_model_version(name, number).tags["ordinal"] for alias, number in named.items()}
