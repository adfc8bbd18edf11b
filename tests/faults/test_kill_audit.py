"""The audit of the fault harnesses finds every kind of damage, one at a time, and none where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.runs.folder import RunFolder
from flows.runs.play import committed, open_place, play_place
from simulator.loop.events import ignore, plain
from simulator.scenario.overrides import scenario_of

HERE = Path(__file__).parent
SCENARIO = {
    "name": "audited",
    "periods": 2,
    "device": "cpu",
    "source": {"use": "digits"},
    "stream": {"base": 200, "batch": 60, "validation": 60, "relearning": 40, "test": 60},
    "attack": {"use": "patch", "target": 0, "size": 2},
    "campaign": {"use": "one-shot", "rate": 0.1},
    "monitor": {"use": "none"},
    "recipe": {"base": {"epochs": 1, "batch": 32}, "update": {"epochs": 1, "batch": 32}},
    "trusted": {"images": 40},
    "gate": {"use": "accuracy", "tolerance": 0.9},
    "probes": [{"use": "attack-success"}],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, importable: None) -> tuple[RunFolder, dict[str, list[str]]]:
    """A finished run in a real store, and the digests of its records."""
    from kill_scenario import digests

    workspace = tmp_path_factory.mktemp("audited")
    place = RunFolder("audited", workspace / "audited", workspace)
    with open_place(place, scenario_of(SCENARIO)) as stores:
        play_place(place, stores, wrap=plain, listen=ignore, processes=0)
        return place, digests(committed(stores))


@pytest.fixture(scope="module")
def client(finished: Any) -> Any:
    from mlflow import MlflowClient

    uri = f"sqlite:///{finished[0].workspace / 'mlflow.db'}"
    return MlflowClient(uri, registry_uri=uri)


def line_run(client: Any, line: str) -> str:
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    return str(client.search_runs([experiment], f"tags.line = '{line}'")[0].info.run_id)


def test_damage_is_found_and_called_by_its_name(finished: Any, client: Any) -> None:
    from kill_audit import audit

    place, expected = finished
    assert audit(place, expected) == []
    name, run = "ebbdoor.audited.main", line_run(client, "main")
    rows = {row.tags["ordinal"]: row for row in client.search_model_versions(f"name = '{name}'")}
    storage = place.workspace / "artifacts" / "models"

    def misled() -> None:
        client.set_registered_model_alias(name, "previous", rows["0"].version)

    def doubled() -> None:
        tags = {**rows["2"].tags, "ordinal": "3"}
        client.create_model_version(name, rows["2"].source, run, tags, await_creation_for=0)

    def orphaned() -> None:
        model = next(path.parent.parent for path in storage.rglob("MLmodel"))
        shutil.copytree(model, storage / "m-orphan")

    damages = (
        (misled, "aliases", "'previous': 0"),
        (doubled, "versions", r"main: versions [0, 1, 2, 3]"),
        (orphaned, "versions", "m-orphan"),
        (lambda: client.log_metric(run, "gate/ordinal", 2.0, timestamp=1, step=1), "once", "points at [0, 1, 1, 2]"),
        (lambda: client.log_text(run, "{}", "periods/0009.json"), "once", "files [0, 1, 2, 9]"),
        (lambda: client.update_run(run, "RUNNING"), "closed", "main is RUNNING"),
        (lambda: client.create_registered_model("ebbdoor.audited.writer_lock", {"run": "audited"}), "closed", "a lock"),
        (lambda: (place.folder / "periods.jsonl").write_text("{}\n"), "closed", "has 1 rows"),
        (lambda: client.delete_model_version(name, rows["1"].version), "versions", "main: versions [0, 2, 3]"),
    )
    known: set[Any] = set()
    for damage, aspect, words in damages:
        damage()
        found = set(audit(place, expected)) - known
        known |= found
        assert [sentence for kind, sentence in found if kind == aspect and words in sentence], found


def test_another_record_is_found(finished: Any) -> None:
    from kill_audit import audit

    place, expected = finished
    other = {**expected, "main": [*expected["main"][:2], "0" * 64]}
    assert ("records", "main: 3 of 3 periods, equal: [True, True, False]") in audit(place, other)
    fewer = {"main": expected["main"]}
    assert ("records", "lines ['main', 'main.twin'] instead of ['main']") in audit(place, fewer)
