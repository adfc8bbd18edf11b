"""What `ebbdoor up` has started is stopped when the rest cannot be."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from flows.servers.processes import LOOPBACK
from flows.servers.start import start
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
