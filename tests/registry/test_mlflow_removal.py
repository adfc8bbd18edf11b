"""What is left in MLflow after periods are forgotten and runs deleted, read with MLflow's own client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.production.lineage import LineageState
from simulator.production.registry.base import Registry, RunHead
from simulator.production.registry.open import open_stores
from simulator.records import Judgement
from tests.registry.seen import (
    MAIN,
    NAME,
    Payload,
    Record,
    Stores,
    aliases,
    history,
    models,
    play,
    runs,
)


def test_forget_after_leaves_the_state_of_the_last_committed_period(
    registry: Registry, client: Any, payload: Payload, record: Record, workspace: Path, head: RunHead
) -> None:
    rejected = Judgement(action="rejected", why="worse", serving=0)
    play(registry, payload(0), record(0))
    play(registry, payload(1), record(1, version=0, candidate=1, judgement=rejected))
    before = aliases(client)
    play(registry, payload(2), record(2))  # never committed: its process was killed
    registry.register(payload(3, period=2))
    torn = client.create_logged_model(
        client.get_experiment_by_name("ebbdoor").experiment_id, "torn", tags=dict(models(client)[0].tags)
    )

    fresh = open_stores(tracking_uri=None, workspace=workspace)[0]
    fresh.open(head)
    fresh.forget_after(MAIN, 1, LineageState((0, 0), 1))
    fresh.forget_after(MAIN, 1, LineageState((0, 0), 1))
    assert aliases(client) == before == {"champion": "0", "candidate": "1"}
    assert sorted(model.tags["ordinal"] for model in models(client)) == ["0", "1"]
    assert torn.model_id not in {model.model_id for model in models(client)}
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 2

    play(fresh, payload(2), record(2), 0, 0, 2)
    assert aliases(client) == {"champion": "2", "previous": "0"}
    assert history(client, runs(client)["main"], "gate/ordinal") == {0: 0.0, 1: 0.0, 2: 2.0}
    (found,) = models(client, "tags.ordinal = '2'")
    assert {m.key: m.value for m in found.metrics}["backdoor/net_attack_success"] == pytest.approx(0.5)


def test_forget_everything_before_the_first_commit(
    registry: Registry, client: Any, payload: Payload, record: Record
) -> None:
    play(registry, payload(0), record(0))
    registry.forget_after(MAIN, -1, LineageState())
    assert models(client) == []
    assert client.get_registered_model(NAME).aliases == {}


def test_delete_leaves_nothing_of_the_run_and_all_of_another(
    stores: Stores, client: Any, payload: Payload, record: Record, head: RunHead, workspace: Path
) -> None:
    from dataclasses import replace

    registry, ledger = stores
    other = open_stores(tracking_uri=None, workspace=workspace)[0]
    other.open(replace(head, run="r1-b"))
    other.register(payload(0))
    ledger.hold("r1")
    ledger.open(head)
    registry.open(head)
    play(registry, payload(0), record(0))
    registry.delete("r1")
    registry.delete("r1")
    ledger.release()
    assert {run.data.tags["run"] for run in runs(client).values()} == {"r1-b"}
    assert {model.tags["run"] for model in models(client)} == {"r1-b"}
    assert {model.tags["run"] for model in client.search_registered_models()} == {"r1-b"}
    files = [path for path in (workspace / "artifacts").rglob("*") if path.is_file()]
    kept = models(client)[0].model_id
    assert files
    assert all(kept in str(path) for path in files)
    registry.open(head)  # the name is free again
    play(registry, payload(0), record(0))
