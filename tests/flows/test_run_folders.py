from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from flows.runs.folder import NOTE, RunFolder, find_run_folder, noted, open_runs, run_folder_of, runs, write_note
from flows.runs.names import new_name
from flows.servers.processes import Server, note_servers
from flows.settings import state_file
from simulator.errors import ScenarioError

WHEN = datetime(2026, 11, 22, 14, 45, 0)


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_name_tells_scenario_seed_and_time_and_is_new(tmp_path: Path) -> None:
    assert new_name("quickstart", 7, tmp_path, WHEN) == "quickstart-s7-20261122-144500"
    (tmp_path / "quickstart-s7-20261122-144500").mkdir()
    assert new_name("quickstart", 7, tmp_path, WHEN) == "quickstart-s7-20261122-144500-2"


@pytest.mark.parametrize(
    ("variable", "address"),
    [("MLFLOW_TRACKING_URI", "http://mlflow.example:5000"), ("EBBDOOR_MLFLOW_DATABASE", "postgresql://db/runs")],
)
def test_workspaces_that_share_a_store_take_different_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, address: str
) -> None:
    monkeypatch.setenv(variable, address)
    found = {new_name("quickstart", 7, tmp_path / host, WHEN) for host in ("one", "other", "third")}
    assert len(found) == 3
    assert all(re.fullmatch("quickstart-s7-20261122-144500-[0-9a-f]{6}", name) for name in found)


def test_a_server_of_the_workspaces_own_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note_servers(state_file(tmp_path), [Server("MLflow", 1, "2", "log", "http://127.0.0.1:1", "MLFLOW_TRACKING_URI")])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert new_name("quickstart", 7, tmp_path, WHEN) == "quickstart-s7-20261122-144500"


def test_a_noted_run_is_found_by_name_and_by_folder(tmp_path: Path) -> None:
    place = run_folder_of("mine", tmp_path / "elsewhere", tmp_path / "runs")
    assert not noted(place)
    write_note(place, finished=False)
    assert find_run_folder(str(tmp_path / "elsewhere"), tmp_path / "runs") == place
    inside = run_folder_of("yours", None, tmp_path / "runs")
    write_note(inside, finished=False)
    assert find_run_folder("yours", tmp_path / "runs") == inside


def test_a_folder_that_was_moved_with_its_workspace_is_still_found(tmp_path: Path) -> None:
    write_note(run_folder_of("mine", None, tmp_path / "before"), finished=False)
    (tmp_path / "before").rename(tmp_path / "after")
    found = find_run_folder("mine", tmp_path / "after")
    assert found.workspace == (tmp_path / "after").resolve()


def test_the_users_address_now_comes_before_the_noted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://before")
    write_note(run_folder_of("mine", None, tmp_path), finished=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert find_run_folder("mine", tmp_path).tracking_uri == "http://before"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://now")
    assert find_run_folder("mine", tmp_path).tracking_uri == "http://now"


def test_a_server_over_the_workspaces_own_stores_is_not_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note_servers(state_file(tmp_path), [Server("MLflow", 1, "2", "log", "http://127.0.0.1:1", "MLFLOW_TRACKING_URI")])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    write_note(run_folder_of("mine", None, tmp_path), finished=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert find_run_folder("mine", tmp_path).tracking_uri is None


def test_open_runs_are_those_that_are_not_finished(tmp_path: Path) -> None:
    for name, finished in (("a", True), ("b", False)):
        write_note(run_folder_of(name, None, tmp_path), finished=finished)
    assert [place.run for place in open_runs(tmp_path)] == ["b"]
    assert {(place.run, finished) for place, finished in runs(tmp_path)} == {("a", True), ("b", False)}


def test_a_forgotten_run_leaves_its_folder_free(tmp_path: Path) -> None:
    place = run_folder_of("mine", tmp_path / "out", tmp_path)
    write_note(place, finished=True)
    (place.folder / NOTE).unlink()
    assert run_folder_of("other", tmp_path / "out", tmp_path) == RunFolder("other", tmp_path / "out", tmp_path, None)


def test_another_runs_folder_is_refused(tmp_path: Path) -> None:
    write_note(run_folder_of("mine", tmp_path / "out", tmp_path), finished=False)
    with pytest.raises(ScenarioError, match="got run 'mine' in it"):
        run_folder_of("other", tmp_path / "out", tmp_path)


@pytest.mark.parametrize("name", ["", "-a", "A", "a/b", "a:b", "../a", "a" * 101])
def test_an_unsafe_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="small letters, digits"):
        run_folder_of(name, None, tmp_path)


@pytest.mark.parametrize("note", ["", "[]", "{}", json.dumps({"run": "a"})])
def test_a_torn_note_is_named(note: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.json").write_text(note)
    with pytest.raises(ScenarioError, match=r"run\.json to name a run"):
        find_run_folder("a", tmp_path)


def test_commands_that_begin_in_one_second_take_different_names(tmp_path: Path) -> None:
    code = (
        "import sys; from datetime import datetime; from pathlib import Path; from flows.runs.names import new_name\n"
    )
    code += "sys.stdin.readline(); print(new_name('quickstart', 7, Path(sys.argv[1]), datetime(2026, 11, 22, 14, 45)))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
    found = sorted(process.communicate(timeout=120)[0].strip() for process in started)
    stem = "quickstart-s7-20261122-144500"
    assert found == [stem, f"{stem}-2", f"{stem}-3", f"{stem}-4"]


def test_a_folder_that_another_run_took_meanwhile_is_refused_and_is_not_ours(tmp_path: Path) -> None:
    mine = run_folder_of("mine", tmp_path / "out", tmp_path / "runs")
    theirs = run_folder_of("theirs", tmp_path / "out", tmp_path / "runs")
    write_note(theirs, finished=False)
    with pytest.raises(ScenarioError, match="got run 'theirs' in it, begun meanwhile; choose another --out"):
        write_note(mine, finished=False)
    assert noted(theirs)
    assert not noted(mine)  # so the resume of the other run is not advised
