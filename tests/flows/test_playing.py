"""What opening, exporting and deleting a run do to its stores: a real SQLite MLflow."""

from __future__ import annotations

import pkgutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.runs.folder import RunFolder, run_folder_of
from flows.runs.play import Interrupted, checked, delete_place, export_again, open_place, play_place
from simulator.errors import RunHeldError, ScenarioError, SourceError, StoreError
from simulator.loop.events import Stage, ignore, plain
from simulator.production.registry.open import open_stores
from simulator.scenario.load import load_scenario
from simulator.scenario.model import Scenario
from simulator.system.patience import PATIENCE


@pytest.fixture
def place(workspace: Path) -> RunFolder:
    return run_folder_of("mine", None, workspace)


@pytest.fixture
def own_data(tiny: Path, tmp_path: Path) -> Scenario:
    """The tiny scenario without twins on a data file that can be taken away."""
    images = np.random.default_rng(0).integers(0, 256, (520, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(520) % 3)
    source = f"source={{use: npz, path: {tmp_path / 'own.npz'}}}"
    return load_scenario(str(tiny), [source, "twins=[]", "arms={main: {}}", "gate={use: none}"])


def play(place: RunFolder, scenario: Scenario, until: int = 0) -> None:
    with open_place(place, scenario) as stores:
        play_place(place, stores, wrap=plain, listen=ignore, until=until, processes=0)


def mlflow_runs(workspace: Path) -> dict[str, tuple[str, str]]:
    """Name -> our status and MLflow's, of every run in the workspace's store."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("ebbdoor").experiment_id])
    return {run.info.run_name: (run.data.tags["status"], run.info.status) for run in found}


def test_report_and_delete_need_no_data(own_data: Scenario, place: RunFolder, tmp_path: Path) -> None:
    play(place, own_data)
    (tmp_path / "own.npz").unlink()
    before = (place.folder / "periods.jsonl").read_bytes()
    (place.folder / "periods.jsonl").unlink()
    export_again(place)
    assert (place.folder / "periods.jsonl").read_bytes() == before
    with pytest.raises(SourceError, match=r"own\.npz"), open_place(place):
        pass
    delete_place(place)
    assert not place.folder.exists()
    assert mlflow_runs(place.workspace) == {}


def test_a_report_leaves_the_run_as_it_is_also_while_another_process_writes(
    own_data: Scenario, place: RunFolder
) -> None:
    play(place, own_data)
    with open_place(place) as stores:
        stores.registry.finish("failed", {})
        note = (place.folder / "run.json").read_bytes()
        (place.folder / "report.html").unlink()
        export_again(place)
    assert (place.folder / "report.html").is_file()
    assert (place.folder / "run.json").read_bytes() == note
    assert mlflow_runs(place.workspace) == {"mine": ("failed", "FAILED"), "main": ("failed", "FAILED")}


def test_a_store_that_does_not_know_the_run_keeps_its_files(
    own_data: Scenario, place: RunFolder, tmp_path: Path
) -> None:
    play(place, own_data)
    elsewhere = RunFolder(place.run, place.folder, tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="got no such run"):
        delete_place(elsewhere)
    assert (place.folder / "run.json").is_file()


def test_a_second_writer_is_refused_before_anything_is_made(own_data: Scenario, place: RunFolder) -> None:
    _, ledger = open_stores(tracking_uri=None, workspace=place.workspace)
    ledger.hold(place.run)
    with pytest.raises(RunHeldError, match="to be free"), open_place(place, own_data):
        pass
    assert mlflow_runs(place.workspace) == {}
    ledger.release()
    with open_place(place, own_data), pytest.raises(RunHeldError, match="to be free"):
        delete_place(place)
    assert set(mlflow_runs(place.workspace)) == {"mine", "main"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"attack": {"use": "patch", "size": 40}}, "size"), ({"source": {"use": "npz", "path": "none.npz"}}, "none.npz")],
)
def test_a_scenario_that_cannot_be_played_makes_nothing(
    own_data: Scenario, place: RunFolder, change: dict[str, Any], sentence: str
) -> None:
    bad = Scenario.model_validate({**own_data.model_dump(), **change})
    with pytest.raises(ScenarioError, match=sentence), open_place(place, bad):
        pass
    assert not place.workspace.exists()


def test_a_scenario_is_checked_once_around_the_opening_of_its_run(own_data: Scenario, tmp_path: Path) -> None:
    with checked(own_data):
        (tmp_path / "own.npz").unlink()
        with checked(own_data):
            pass
    with pytest.raises(SourceError, match=r"own\.npz"), checked(own_data):
        pass


KILLED = {"mine": ("interrupted", "KILLED"), "main": ("interrupted", "KILLED")}


def interrupted_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, but Ctrl-C interrupts its first call."""
    called = []

    def call(*given: Any, **options: Any) -> Any:
        called.append(True)
        if len(called) == 1:
            raise KeyboardInterrupt
        return function(*given, **options)

    return call


@pytest.mark.parametrize(
    "where",
    [
        "simulator.production.registry.mlflow.runs.Runs._describe",
        "simulator.loop.run.expect_same_code",
        "flows.runs.play.tell_costs",
    ],
)
def test_a_run_that_is_interrupted_while_it_is_opened_is_closed(
    own_data: Scenario, place: RunFolder, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    module, _, name = where.rpartition(".")
    owner = pkgutil.resolve_name(module)
    monkeypatch.setattr(owner, name, interrupted_once(getattr(owner, name)))
    with pytest.raises(KeyboardInterrupt), open_place(place, own_data):
        pass
    assert mlflow_runs(place.workspace) == KILLED
    play(place, own_data)
    assert mlflow_runs(place.workspace) == {"mine": ("open", "SCHEDULED"), "main": ("open", "SCHEDULED")}


def test_a_run_that_is_interrupted_before_it_is_played_is_closed(own_data: Scenario, place: RunFolder) -> None:
    with pytest.raises(KeyboardInterrupt), open_place(place, own_data):
        raise KeyboardInterrupt
    assert mlflow_runs(place.workspace) == KILLED


@pytest.mark.parametrize(
    ("error", "raised", "status"),
    [
        (KeyboardInterrupt(), Interrupted, ("interrupted", "KILLED")),
        (OSError("no space left"), OSError, ("failed", "FAILED")),
    ],
)
def test_a_run_whose_export_ends_early_is_closed_and_is_exported_by_resuming(
    own_data: Scenario,
    place: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
    status: tuple[str, str],
) -> None:
    def end(*given: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("simulator.observer.export.write_run", end)
        with pytest.raises(raised, match=r"no space|1 of 3 periods are committed in every arm, and safe"):
            play(place, own_data)
    assert mlflow_runs(place.workspace) == {"mine": status, "main": status}
    with open_place(place) as stores:
        play_place(place, stores, wrap=plain, listen=ignore, until=0, processes=0)
    assert (place.folder / "periods.jsonl").is_file()
    assert mlflow_runs(place.workspace)["mine"][0] == "open"


def break_store(workspace: Path) -> None:
    with sqlite3.connect(workspace / "mlflow.db") as database:
        database.execute("DROP TABLE tags")
        database.execute("DROP TABLE registered_model_tags")
    database.close()


def test_a_store_that_fails_too_does_not_hide_why_a_run_ended(
    own_data: Scenario, place: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATIENCE, "1")

    def wrap(name: str, function: Stage) -> Stage:
        def call(arm: str, control: str, period: int, **arguments: Any) -> dict[str, Any]:
            if name == "train":
                break_store(place.workspace)
                raise OSError("no space left")
            return function(arm, control, period, **arguments)

        return call

    with pytest.raises(OSError, match="no space left") as raised, open_place(place, own_data) as stores:
        play_place(place, stores, wrap=wrap, listen=ignore, processes=0)
    closing, releasing = raised.value.__notes__
    assert "expected the MLflow store" in closing
    assert "tried 3 times" in closing
    assert "to release run 'mine'" in releasing
    assert "tried" not in releasing, "a store that was given up is asked once"
