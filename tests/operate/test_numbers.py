"""A version has one number for people: MLflow's, also where that is not the ordinal plus 1."""

from __future__ import annotations

import json
from typing import Any

from flows.operate.rollback import rollback
from flows.operate.status import run_status
from flows.runs.folder import find_run_folder, run_folder_of
from flows.runs.play import open_place, play_place
from simulator.loop.events import Event, ignore, plain
from simulator.observer.export import read_run
from simulator.observer.report.columns import COLUMNS
from simulator.scenario.load import load_scenario

from .conftest import TINY


def test_numbers_are_mlflows_after_a_colleague_took_one(kept: Any) -> None:
    kept.client.create_model_version("ebbdoor.part.main", "s3://somewhere/else")  # takes number 2
    place, heard = find_run_folder("part", kept.workspace), []
    with open_place(place) as stores:
        play_place(place, stores, wrap=plain, listen=heard.append, processes=0)
    served = kept.client.get_model_version_by_alias("ebbdoor.part.main", "champion")
    assert (str(served.version), served.tags["ordinal"]) == ("3", "1")

    (status,) = [row for row in run_status(kept.workspace) if row["run"] == "part"]
    assert status["serves"] == "main: version 3"
    (told,) = [one for one in heard if _is_commit(one)]
    assert told.detail["number"] == 3

    rows = [json.loads(line) for line in (place.folder / "periods.jsonl").read_text().splitlines()]
    assert [(row["version"], row["number"]) for row in rows if not row["twin"]] == [(0, 1), (1, 3)]
    column = next(one for one in COLUMNS if one.title == "version")
    assert [column.cell(row) for row in read_run(place.folder).lineage("main")] == ["1", "3"]

    done = rollback(place, "main", 1, "worse")
    assert (done["to"], done["left"]) == (1, 3)
    left = kept.client.get_model_version("ebbdoor.part.main", "3")
    assert left.tags["rolled_back"] == "after period 1, to version 1: worse"
    assert kept.client.get_model_version("ebbdoor.part.main", "2").source == "s3://somewhere/else"


def test_a_deleted_version_is_named_by_the_number_it_had_and_no_version_by_its_ordinal(kept: Any) -> None:
    kept.client.create_model_version("ebbdoor.part.main", "s3://somewhere/else")  # takes number 2
    place = find_run_folder("part", kept.workspace)
    with open_place(place) as stores:
        play_place(place, stores, wrap=plain, listen=ignore, processes=0)
    experiment = kept.client.get_experiment_by_name("ebbdoor").experiment_id
    names = {model.name for model in kept.client.search_logged_models([experiment])}
    assert {"part-main-period-0", "part-main-period-1"} <= names

    kept.client.delete_model_version("ebbdoor.part.main", "3")
    (status,) = [row for row in run_status(kept.workspace) if row["run"] == "part"]
    assert "version 3 of 'main', which was deleted in MLflow" in status["waits for"]
    assert "to name version 3, which serves, got it deleted" in status["waits for"]


def _is_commit(event: Event) -> bool:
    return event.kind == "period-committed" and event.control == "none"


def test_status_gives_a_challenger_the_number_that_mlflow_shows(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "tiny.yaml").write_text(TINY)
    scenario = load_scenario(str(tmp_path / "tiny.yaml"), ["periods=3", "shadow={periods: 2}", "twins=[]"])
    place = run_folder_of("shown", None, tmp_path / "runs")
    with open_place(place, scenario) as stores:
        play_place(place, stores, wrap=plain, listen=ignore, until=1, processes=0)
    (status,) = run_status(tmp_path / "runs")
    assert status["waits for"].endswith("version 2 of 'main', the challenger, in shadow, 0 of 2")
