"""A run's folder that somebody gave away: no command sends the user's password to the server that it names."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flows.cli import main
from flows.runs.folder import find_run_folder
from flows.runs.queue import waiting_runs
from flows.runs.trust import expect_trusted
from flows.servers.processes import Server, note_servers
from flows.settings import addresses, state_file
from simulator.errors import ScenarioError, StoreError
from simulator.production.registry.addresses import expect_same_server, shown_address
from simulator.production.registry.mlflow.client import Files


class Stranger(BaseHTTPRequestHandler):
    """Notes every request."""

    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(str(self.headers.get("Authorization")))
        self.send_response(500)
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - the base class asks for it

    def log_message(self, *arguments: object) -> None:
        return


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """The address of a stranger's server, and what it was sent."""
    Stranger.seen = []
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
        monkeypatch.setenv("EBBDOOR_STORE_PATIENCE", "0")
        yield f"http://127.0.0.1:{server.server_port}", Stranger.seen
        server.shutdown()


def gift(folder: Path, address: str) -> Path:
    folder.mkdir(parents=True)
    note = {"run": folder.name, "workspace": ".", "tracking_uri": address, "finished": False}
    (folder / "run.json").write_text(json.dumps(note))
    return folder


@pytest.mark.parametrize("command", ["resume", "report", "rollback", "delete"])
def test_a_server_that_only_the_folder_names_is_refused_and_not_contacted(
    command: str, stranger: tuple[str, list[str]], workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, seen = stranger
    more = {"rollback": ["--reason", "why not"], "resume": ["--no-prefect", "--display", "none"]}.get(command, [])
    with pytest.raises(SystemExit) as ended:
        main([command, str(gift(tmp_path / "gift", address)), *more])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("ebbdoor: expected MLFLOW_TRACKING_URI to name the MLflow server of run 'gift', got nothing")
    assert address in said
    assert "s3cret" not in said
    assert seen == []


def test_a_run_that_is_refused_does_not_hide_the_others(stranger: tuple[str, list[str]], workspace: Path) -> None:
    gift(workspace / "gift", stranger[0])
    (waiting,) = waiting_runs(workspace)
    assert waiting.due.words.startswith("expected MLFLOW_TRACKING_URI to name the MLflow server")
    assert stranger[1] == []


def test_the_users_own_addresses_are_trusted(
    stranger: tuple[str, list[str]], workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, seen = stranger
    expect_trusted("sqlite:////somewhere/mlflow.db", "r")
    note_servers(state_file(workspace), [Server("MLflow", 1, "2", "log", address, "MLFLOW_TRACKING_URI")])
    expect_trusted(address, "r")
    state_file(workspace).unlink()
    with pytest.raises(ScenarioError, match="expected MLFLOW_TRACKING_URI to name"):
        expect_trusted(address, "r")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(StoreError):
        find_run_folder(str(gift(tmp_path / "gift", "http://elsewhere.example")), workspace).open_stores()
    assert seen
    assert set(seen) == {"Basic bWU6czNjcmV0"}  # me:s3cret, where the user's own environment leads


@pytest.mark.parametrize(("answer", "asked"), [(True, True), (False, True)])
def test_on_a_terminal_the_user_is_asked(answer: bool, asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    questions: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda text, **_: questions.append(text) or answer)
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    if answer:
        expect_trusted("http://ann:pw@far.example:5000", "r")
    else:
        with pytest.raises(ScenarioError):
            expect_trusted("http://ann:pw@far.example:5000", "r")
    assert questions == [
        "Run 'r' names the MLflow server http://far.example:5000. Send your user name and password there?"
    ]


def test_a_state_file_leads_to_servers_of_this_machine_only(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.servers.processes.alive", lambda server: True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for address, found in (("http://127.0.0.1:5000", True), ("http://far.example", False)):
        note_servers(state_file(workspace), [Server("MLflow", 1, "2", "log", address, "MLFLOW_TRACKING_URI")])
        assert ("MLFLOW_TRACKING_URI" in addresses(workspace)) == found


@pytest.mark.parametrize("scheme", ["http", "mlflow-artifacts"])
@pytest.mark.parametrize("method", ["fetch", "remove"])
def test_artifacts_of_a_store_that_lie_on_another_server_are_refused(
    stranger: tuple[str, list[str]], tmp_path: Path, scheme: str, method: str
) -> None:
    address = stranger[0].replace("http", scheme) + "/api/2.0/mlflow-artifacts/artifacts/a"
    files = Files(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(StoreError, match="another server; nothing was sent to it"):
        files.fetch(address, str(tmp_path)) if method == "fetch" else files.remove(address)
    assert stranger[1] == []


@pytest.mark.parametrize("address", ["models:/theirs/1", "runs:/0123/files", "MODELS:/m-1"])
def test_an_address_that_may_lead_anywhere_is_refused(address: str) -> None:
    with pytest.raises(StoreError, match="which may lead to another server; nothing was sent to it"):
        expect_same_server(address, "sqlite:///a.db")


@pytest.mark.parametrize(
    ("artifact", "store"),
    [
        ("file:///a/b", "sqlite:///a.db"),
        ("/a/b", "sqlite:///a.db"),
        ("s3://bucket/a", "http://far.example"),
        ("mlflow-artifacts:/1/2", "http://far.example"),
        ("http://far.example:5000/a", "http://me:pw@far.example:5000"),
    ],
)
def test_artifacts_at_the_store_itself_are_fetched(artifact: str, store: str) -> None:
    expect_same_server(artifact, store)
    assert "pw" not in shown_address(store)
