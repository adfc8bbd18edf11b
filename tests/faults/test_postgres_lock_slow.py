"""The advisory lock of a real PostgreSQL: waited for in seconds, and whom for is said."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from simulator.errors import LockHeldError
from simulator.production.registry.database_lock import alone_in
from simulator.system.patience import PATIENCE

from .conftest import beside

postgres = beside("postgres")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(postgres.why_impossible()), reason=postgres.why_impossible() or "possible"),
]

HOLD = "import os, time; from simulator.production.registry.database_lock import alone_in\n"
HOLD += "with alone_in(os.environ['STORE']): print('held', flush=True); time.sleep(float(os.environ['SECONDS']))"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with postgres.cluster() as made:
        yield made


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended after the test."""
    found: list[subprocess.Popen[str]] = []
    yield found
    for process in found:
        process.kill()
        process.communicate()


def hold(started: list[subprocess.Popen[str]], address: str, seconds: float) -> int:
    environment = {**os.environ, "STORE": address, "SECONDS": str(seconds)}
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, env=environment, text=True)
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process.pid


def test_a_session_that_keeps_the_lock_is_named_and_given_up(
    cluster: Any,
    started: list[subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = cluster.address("kept")
    pid = hold(started, address, 600)
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setenv(PATIENCE, "6")
    who = f"process {pid} on host {socket.gethostname()}"
    began = time.monotonic()
    with pytest.raises(LockHeldError) as refused, alone_in(address):
        pass
    assert 3 <= time.monotonic() - began < 6
    said = capsys.readouterr().err
    assert said.startswith("waiting for the store at postgresql://127.0.0.1")
    for text in (said, str(refused.value)):
        assert f"ebbdoor, {who} from 127.0.0.1, connected since 2" in text
        assert postgres.PASSWORD not in text
    assert refused.value.exit_code == 4

    session = cluster.query("postgres", "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'ebbdoor, %'")
    advice = f"SELECT pg_terminate_backend({session})"
    assert f"`{advice}` ends it" in str(refused.value)
    cluster.query("kept", advice)  # as printed
    with alone_in(address):
        assert cluster.query("kept", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "1"


def test_the_lock_is_taken_when_its_holder_ends_and_one_of_another_database_is_free(
    cluster: Any, started: list[subprocess.Popen[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    address, other = cluster.address("brief"), cluster.address("other")
    hold(started, address, 1)
    with alone_in(other):
        pass
    began = time.monotonic()
    with alone_in(address):
        assert time.monotonic() - began < 30
    assert cluster.query("brief", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"
    assert capsys.readouterr().err == ""
