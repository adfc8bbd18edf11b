"""What `ebbdoor up` has started is stopped when the rest cannot be."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from flows.servers import start as starting
from flows.servers.processes import LOOPBACK, Server
from flows.servers.start import start, stop_all
from flows.servers.worker import keep_temporary_files_in, remove_storage, storage_of
from flows.settings import state_file
from simulator.errors import StoreError

ROOT = Path(__file__).parents[2]


def members(workspace: Path) -> list[str]:
    """The processes of this machine that were told of a workspace."""
    wanted = f"EBBDOOR_WORKSPACE={workspace}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(folder.name)
        except OSError:
            continue
    return found


def test_a_server_whose_fellow_cannot_be_started_does_not_stay(workspace: Path, tmp_path: Path) -> None:
    if not Path("/proc/self/environ").exists():
        pytest.skip("looks for processes in /proc")
    shutil.copy(ROOT / "prefect.yaml", tmp_path)
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with pytest.raises(StoreError, match=f"expected port {port} to be free"):
            start(workspace, prefect_port=None, mlflow_port=port, say=print)
    assert (workspace / "logs" / "prefect-server.log").is_file()  # Prefect's was started first
    assert members(workspace) == []
    assert not state_file(workspace).exists()


def test_a_worker_keeps_its_files_in_the_workspace_until_it_is_stopped(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.runner import Runner

    commands: list[list[str]] = []

    def launched(name: str, command: list[str], log: Path, **_: Any) -> Server:
        commands.append(command)
        return Server(name, 0, "", str(log))

    monkeypatch.setattr(starting, "launch", launched)
    starting._worker(workspace, "ebbdoor-local", {})
    program = commands[0][1:4]
    assert program == ["-m", "flows.servers.worker", str(storage_of(workspace))]
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())  # put back after the test
    keep_temporary_files_in(Path(program[-1]))
    folder = Path(Runner(name="ours")._tmp_dir)
    assert folder.is_relative_to(workspace)
    folder.mkdir(parents=True)
    assert stop_all(workspace) == {}
    assert not storage_of(workspace).exists()


def test_workers_files_are_not_removed_through_a_link(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    storage_of(workspace).parent.mkdir(parents=True)
    storage_of(workspace).symlink_to(tmp_path / "mine")
    remove_storage(workspace)
    assert (tmp_path / "mine" / "notes.txt").exists()
