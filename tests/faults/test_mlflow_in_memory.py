"""The simulated MLflow answers and refuses as MLflow's own client on SQLite does."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from simulator.production.registry.mlflow.client import Files

HERE = Path(__file__).parent
Told = list[Any]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: making them takes seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("tables") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_registered_models(max_results=1)
    return path


@pytest.fixture(params=["simulated", "real"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """A client, and where a new experiment keeps its files."""
    if request.param == "simulated":
        sys.path.insert(0, str(HERE))
        from simulated.mlflow_in_memory import MlflowInMemory

        yield MlflowInMemory(), "memory:/files"
        sys.path.remove(str(HERE))
    else:
        from mlflow import MlflowClient

        uri = f"sqlite:///{shutil.copyfile(request.getfixturevalue('tables'), tmp_path / 'mlflow.db')}"
        yield MlflowClient(uri, registry_uri=uri), (tmp_path / "files").as_uri()


def every(search: Any, *arguments: Any) -> Told:
    found, token = [], None
    while True:
        page = search(*arguments, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def refused(function: Callable[[], Any]) -> str:
    """Return the error code of a call that must be refused."""
    with pytest.raises(MlflowException) as raised:
        function()
    return str(raised.value.error_code)


def ours(tags: dict[str, str]) -> dict[str, str]:
    """Without what MLflow's client adds about the machine, and ids."""
    return {key: value for key, value in tags.items() if not key.startswith("mlflow.") or key == "mlflow.runName"}


def test_runs(made: tuple[Any, str], tmp_path: Path) -> None:
    client, place = made
    experiment = client.create_experiment("e", artifact_location=place)
    assert client.get_experiment_by_name("e").lifecycle_stage == "active"
    assert client.get_experiment_by_name("e").artifact_location == place
    assert client.get_experiment_by_name("other") is None
    assert refused(lambda: client.create_experiment("e")) == "RESOURCE_ALREADY_EXISTS"
    ids = [
        client.create_run(experiment, tags={"run": run, "n": str(n)}, run_name=f"{run}{n}").info.run_id
        for n, run in enumerate("aaaab")
    ]
    assert len(every(client.search_runs, [experiment], "tags.run = 'a'")) == 4
    assert len(every(client.search_runs, [experiment], "tags.run != ''")) == 5
    assert every(client.search_runs, [experiment], "tags.missing != 'x'") == []
    client.delete_run(ids[0])
    client.delete_run(ids[0])
    assert {run.data.tags["n"] for run in every(client.search_runs, [experiment], "tags.run = 'a'")} == {"1", "2", "3"}
    assert refused(lambda: client.set_tag(ids[0], "k", "v")) == "INVALID_PARAMETER_VALUE"
    client.set_tag(ids[1], "k", "v")
    client.set_tag(ids[1], "k", "w")
    run = client.get_run(ids[1])
    assert ours(run.data.tags) == {"run": "a", "n": "1", "k": "w", "mlflow.runName": "a1"}
    assert (run.info.status, run.info.run_name, run.info.lifecycle_stage) == ("RUNNING", "a1", "active")
    client.delete_tag(ids[1], "k")
    assert refused(lambda: client.delete_tag(ids[1], "k")) == "RESOURCE_DOES_NOT_EXIST"
    assert refused(lambda: client.get_run("0" * 32)) == "RESOURCE_DOES_NOT_EXIST"
    client.set_terminated(ids[1], "KILLED")
    assert client.get_run(ids[1]).info.status == "KILLED"
    client.update_run(ids[1], "RUNNING")
    assert client.get_run(ids[1]).info.status == "RUNNING"


def test_metrics_params_and_their_repetition(made: tuple[Any, str]) -> None:
    client, place = made
    experiment = client.create_experiment("e", artifact_location=place)
    run_id = client.create_run(experiment, tags={}, run_name="r").info.run_id
    model = client.create_logged_model(experiment, "m", run_id, {"version": "0"}, model_type="t")
    metrics = [Metric("a", 0.5, 1000, 0), Metric("b", 1.5, 1000, 0, model_id=model.model_id)]
    for _ in range(2):
        client.log_batch(run_id, metrics, [Param("p", "1")], [RunTag("t", "u")])
    client.log_batch(run_id, [Metric("a", 0.25, 1001, 1)])
    history = [(point.step, point.value, point.timestamp) for point in client.get_metric_history(run_id, "a")]
    assert sorted(history) == [(0, 0.5, 1000), (1, 0.25, 1001)]
    assert client.get_metric_history(run_id, "none") == []
    run = client.get_run(run_id)
    assert (run.data.metrics, run.data.params, ours(run.data.tags)["t"]) == ({"a": 0.25, "b": 1.5}, {"p": "1"}, "u")
    (found,) = every(client.search_logged_models, [experiment])
    assert [(metric.key, metric.value) for metric in found.metrics] == [("b", 1.5)]
    assert refused(lambda: client.log_batch(run_id, params=[Param("p", "2")])) == "INVALID_PARAMETER_VALUE"


def test_artifacts(made: tuple[Any, str], tmp_path: Path) -> None:
    client, place = made
    files = client if place.startswith("memory:") else Files(client._tracking_client.tracking_uri)
    experiment = client.create_experiment("e", artifact_location=place)
    run = client.create_run(experiment, tags={}, run_name="r")
    run_id, address = run.info.run_id, run.info.artifact_uri
    assert re.fullmatch(re.escape(place) + r"/\w+/artifacts", address)
    client.log_text(run_id, "one", "periods/0.json")
    client.log_text(run_id, "first", "periods/1.json")
    client.log_text(run_id, "two", "periods/1.json")
    (tmp_path / "report.html").write_text("r")
    client.log_artifact(run_id, str(tmp_path / "report.html"))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    folder = files.fetch(f"{address}/periods", str(tmp_path / "a"))
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"0.json": "one", "1.json": "two"}
    file = files.fetch(f"{address}/report.html", str(tmp_path / "b"))
    assert (file.name, file.read_text()) == ("report.html", "r")
    files.sync(f"{address}/periods/1.json")
    files.sync(address)
    with pytest.raises(FileNotFoundError):
        files.sync(f"{address}/missing")
    files.remove(address)
    files.remove(address)
    assert refused(lambda: files.fetch(f"{address}/report.html", str(tmp_path / "b"))) == "RESOURCE_DOES_NOT_EXIST"


def test_logged_models(made: tuple[Any, str], tmp_path: Path) -> None:
    client, place = made
    experiment = client.create_experiment("e", artifact_location=place)
    run_id = client.create_run(experiment, tags={}, run_name="r").info.run_id
    models = [
        client.create_logged_model(experiment, f"m{n}", run_id, {"run": "a", "line": str(n % 2)}, model_type="t")
        for n in range(5)
    ]
    assert str(models[0].status) == "PENDING"
    assert re.fullmatch(re.escape(place) + r"/models/[\w-]+/artifacts", models[0].artifact_location)
    (tmp_path / "model" / "sub").mkdir(parents=True)
    (tmp_path / "model" / "sub" / "file").write_text("x")
    client.log_model_artifacts(models[0].model_id, str(tmp_path / "model"))
    client.log_model_artifact(models[0].model_id, str(tmp_path / "model" / "sub" / "file"), "outcomes")
    client.finalize_logged_model(models[0].model_id, "READY")
    client.set_logged_model_tags(models[0].model_id, {"k": "v"})
    found = {
        m.model_id: m for m in every(client.search_logged_models, [experiment], "tags.run = 'a' AND tags.line = '0'")
    }
    assert set(found) == {model.model_id for model in models[::2]}
    assert str(found[models[0].model_id].status) == "READY"
    assert ours(found[models[0].model_id].tags) == {"run": "a", "line": "0", "k": "v"}
    client.delete_logged_model(models[0].model_id)
    client.delete_logged_model(models[0].model_id)
    assert refused(lambda: client.delete_logged_model("m-none")) == "RESOURCE_DOES_NOT_EXIST"
    assert len(every(client.search_logged_models, [experiment], "tags.run = 'a' AND tags.line = '0'")) == 2


def test_registered_models_versions_and_aliases(made: tuple[Any, str], tmp_path: Path) -> None:
    client, place = made
    experiment = client.create_experiment("e", artifact_location=place)
    run_id = client.create_run(experiment, tags={}, run_name="r").info.run_id
    source = client.create_logged_model(experiment, "m", run_id, {"version": "0"}, model_type="t")
    client.create_registered_model("x.a", tags={"run": "a"}, description="words")
    client.create_registered_model("x.a.lock_1", tags={"run": "a", "pid": "1"})
    assert refused(lambda: client.create_registered_model("x.a")) == "RESOURCE_ALREADY_EXISTS"
    assert [row.name for row in every(client.search_registered_models, "name LIKE 'x.a.%'")] == ["x.a.lock_1"]
    assert [row.name for row in every(client.search_registered_models, "tags.run = 'a'")] == ["x.a", "x.a.lock_1"]
    assert [row.name for row in every(client.search_registered_models, "name = 'x.a'")] == ["x.a"]
    rows = [
        client.create_model_version(
            "x.a", source.artifact_location, run_id, {"version": str(n)}, await_creation_for=0, model_id=source.model_id
        )
        for n in range(5)
    ]
    assert [int(row.version) for row in rows] == [1, 2, 3, 4, 5]
    client.set_registered_model_alias("x.a", "champion", "4")
    client.set_registered_model_alias("x.a", "champion", "5")
    client.set_registered_model_alias("x.a", "previous", "4")
    assert {k: int(v) for k, v in client.get_registered_model("x.a").aliases.items()} == {"champion": 5, "previous": 4}
    assert refused(lambda: client.set_registered_model_alias("x.a", "champion", "9")) == "RESOURCE_DOES_NOT_EXIST"
    client.delete_registered_model_alias("x.a", "previous")
    client.delete_registered_model_alias("x.a", "previous")
    client.delete_model_version("x.a", "5")
    assert client.get_registered_model("x.a").aliases == {}
    assert refused(lambda: client.delete_model_version("x.a", "5")) == "RESOURCE_DOES_NOT_EXIST"
    client.set_model_version_tag("x.a", "4", "gate", "promoted")
    again = client.create_model_version("x.a", source.artifact_location, run_id, {}, await_creation_for=0)
    found = {int(row.version): dict(row.tags) for row in every(client.search_model_versions, "name='x.a'")}
    assert int(again.version) == len(found) + 1 == 6  # the number of a removed version is not given again
    assert found[4] == {"version": "3", "gate": "promoted"}
    client.delete_registered_model("x.a.lock_1")
    assert refused(lambda: client.delete_registered_model("x.a.lock_1")) == "RESOURCE_DOES_NOT_EXIST"
    assert refused(lambda: client.get_registered_model("x.a.lock_1")) == "RESOURCE_DOES_NOT_EXIST"
