"""Real child processes: started, recognised, stopped, and never a stranger's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.servers.processes import Server, alive, await_health, choose_port, launch, note_servers, noted_servers, stop
from simulator.errors import StoreError

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def exists(group: int) -> bool:
    """Whether a process group has a member that is not a zombie."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return any(row[0] == str(group) and not row[1].startswith("Z") for row in rows)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Server]:
    server = launch(
        "sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", environment=os.environ
    )
    yield server
    stop(server)


def test_a_process_is_recognised_by_id_and_start_time(sleeper: Server) -> None:
    assert alive(sleeper)
    assert not alive(replace(sleeper, started="1"))


def test_stop_ends_it_and_says_so(sleeper: Server) -> None:
    assert stop(sleeper) == "stopped"
    assert not alive(sleeper)
    assert stop(sleeper) == "was gone"


def test_stop_leaves_a_stranger_with_the_same_id_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        try:
            assert stop(Server("server", stranger.pid, "1", "log")) == "was gone"
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_what_does_not_hear_is_killed(tmp_path: Path) -> None:
    server = launch("deaf", [sys.executable, "-c", DEAF], tmp_path / "log", environment=os.environ)
    while "deaf" not in (tmp_path / "log").read_text():
        time.sleep(0.01)
    assert stop(server, patience=0.2) == "killed"
    assert not alive(server)


def test_children_do_not_outlive_what_is_stopped(tmp_path: Path) -> None:
    code = f"import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', {DEAF!r}]); time.sleep(60)"
    server = launch("parent", [sys.executable, "-c", code], tmp_path / "log", environment=os.environ)
    while "deaf" not in (tmp_path / "log").read_text():
        time.sleep(0.01)
    stop(server)
    deadline = time.monotonic() + 120
    while exists(server.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not exists(server.pid)


def test_the_state_file_gives_back_what_was_noted(tmp_path: Path) -> None:
    servers = [Server("a", 1, "2", "log", "http://x", "PREFECT_API_URL"), Server("b", 3, "4", "log")]
    note_servers(tmp_path / "deep" / "servers.json", servers)
    assert noted_servers(tmp_path / "deep" / "servers.json") == servers
    assert noted_servers(tmp_path / "none.json") == []


def test_a_torn_state_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "servers.json").write_text('[{"pid": 1}]')
    with pytest.raises(StoreError, match=r"servers\.json to list servers"):
        noted_servers(tmp_path / "servers.json")


def test_a_port_in_use_is_refused_when_asked_for_and_avoided_otherwise() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StoreError, match=f"expected port {port} to be free"):
            choose_port(port, 1)
        assert choose_port(None, port) != port


def test_health_is_ours_only_when_the_port_is(tmp_path: Path, sleeper: Server) -> None:
    """Another process answers on the port: it is not taken for ours."""
    (tmp_path / "pages").mkdir()
    command = [
        sys.executable,
        "-u",
        "-m",
        "http.server",
        "0",
        "--bind",
        "127.0.0.1",
        "--directory",
        str(tmp_path / "pages"),
    ]
    other = launch("pages", command, tmp_path / "pages.log", environment=os.environ)
    try:
        while "port" not in (tmp_path / "pages.log").read_text():
            time.sleep(0.01)
        port = (tmp_path / "pages.log").read_text().split("port ")[1].split()[0]
        await_health(other, f"http://127.0.0.1:{port}/", patience=120)
        if Path("/proc/net/tcp").exists():
            with pytest.raises(StoreError, match="expected the sleeper to answer"):
                await_health(sleeper, f"http://127.0.0.1:{port}/", patience=0.5)
    finally:
        stop(other)


def test_an_early_end_is_told_with_its_last_line(tmp_path: Path) -> None:
    server = launch(
        "short", [sys.executable, "-c", "raise SystemExit('no disk')"], tmp_path / "log", environment=os.environ
    )
    with pytest.raises(StoreError, match=r"got its end; read .*no disk"):
        await_health(server, "http://127.0.0.1:9/", patience=120)
