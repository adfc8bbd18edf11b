"""Which database a server is told, by which road, and what of it others get to see."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from flows.runs.folder import RunFolder, write_note
from flows.servers.databases import PREFECT_DATABASE, mlflow_variables, prefect_variables, without_addresses
from simulator.errors import StoreError, StoreUnavailableError
from simulator.production.registry.database import DATABASE

ADDRESS = "postgresql://ann:s3same@127.0.0.1:1/runs"


def test_sqlite_in_the_workspace_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mlflow_variables(tmp_path) == {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    assert prefect_variables() == {}
    monkeypatch.setenv(DATABASE, ADDRESS)
    assert mlflow_variables(tmp_path)["MLFLOW_BACKEND_STORE_URI"] == ADDRESS


def test_prefects_own_variable_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = "postgresql+asyncpg://bob@db/prefect"
    monkeypatch.setenv(PREFECT_DATABASE, ADDRESS)
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", theirs)
    assert prefect_variables() == {"PREFECT_API_DATABASE_CONNECTION_URL": theirs}


def test_a_process_that_speaks_to_the_servers_gets_no_address_of_their_databases() -> None:
    given = {
        DATABASE: ADDRESS,
        PREFECT_DATABASE: ADDRESS,
        "MLFLOW_BACKEND_STORE_URI": ADDRESS,
        "PREFECT_API_DATABASE_CONNECTION_URL": ADDRESS,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": ADDRESS,
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
    }
    assert without_addresses(given) == {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}


def test_a_runs_note_holds_no_user_name_and_no_password(tmp_path: Path) -> None:
    for address in (ADDRESS, "https://ann:s3same@mlflow.example/base", "http://127.0.0.1:5000", "sqlite:////a@c/b.db"):
        write_note(RunFolder("r", tmp_path / "r", tmp_path, address), finished=False)
        noted = json.loads((tmp_path / "r" / "run.json").read_text())["tracking_uri"]
        assert noted == address.replace("ann:s3same@", "")


def test_prefects_database_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv(PREFECT_DATABASE, ADDRESS.replace(":1/", f":{probe.getsockname()[1]}/"))
    with pytest.raises(StoreUnavailableError, match=f"correct {PREFECT_DATABASE}, or unset it") as caught:
        prefect_variables()
    assert "s3same" not in str(caught.value)


def test_prefects_database_is_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFECT_DATABASE, "mysql://ann:s3same@db/prefect")
    with pytest.raises(StoreError, match=f"expected {PREFECT_DATABASE} to be postgresql://") as caught:
        prefect_variables()
    assert "s3same" not in str(caught.value)
