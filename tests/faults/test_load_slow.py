"""Four runs at once against one MLflow server: nothing is lost. Prints what it measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import beside

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RUNS, PERIODS = 4, 6


load = beside("load")
postgres = load.postgres()


def test_four_runs_at_once_lose_nothing_on_sqlite(tmp_path: Path) -> None:
    with load.mlflow_server(tmp_path / "runs") as address:
        found = load.put_under_load(address, "SQLite", RUNS, PERIODS)
    print(found)  # noqa: T201
    assert found.missing == ()
    assert found.calls > found.periods


@pytest.mark.skipif(bool(postgres.why_impossible()), reason=postgres.why_impossible() or "possible")
def test_four_runs_at_once_lose_nothing_on_postgresql(tmp_path: Path) -> None:
    with postgres.cluster() as cluster, load.mlflow_server(tmp_path / "runs", cluster.address("load")) as address:
        found = load.put_under_load(address, "PostgreSQL", RUNS, PERIODS)
    print(found)  # noqa: T201
    assert found.missing == ()
    assert found.calls > found.periods


def test_a_lost_write_would_be_seen(tmp_path: Path) -> None:
    with load.mlflow_server(tmp_path / "runs") as address:
        assert load.put_under_load(address, "SQLite", 1, 2).missing == ()
        from mlflow import MlflowClient

        client = MlflowClient(address, registry_uri=address)
        client.delete_model_version("ebbdoor.load-0.main", "2")
        (run,) = client.search_runs(
            [client.get_experiment_by_name("ebbdoor").experiment_id], "tags.run = 'load-0' and tags.line = 'main.twin'"
        )
        client.delete_tag(run.info.run_id, "period.0002")
        version, period = load.what_is_missing(address, "load-0", 2)
        assert version == "load-0 main: 2 versions of 3"
        assert period.startswith("load-0 main.twin: expected period 2 to have its tag in the MLflow run")
