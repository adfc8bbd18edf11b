"""Locks between processes: a wait is told of, names the holder, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.cache.entry import CachedResult
from simulator.cache.folder import LOCKS
from simulator.cache.store import FolderCache
from simulator.errors import LockHeldError, RunHeldError
from simulator.production.registry.folder import FolderLedger
from simulator.system.locks import exclusive
from simulator.system.patience import PATIENCE
from simulator.world.arrivals.folder import DropFolder

HOLD = "import sys, time; from pathlib import Path; from simulator.system.locks import exclusive\n"
HOLD += "with exclusive(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"


@pytest.fixture
def holders() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended after the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def hold(holders: list[subprocess.Popen[str]], path: Path, *, stopped: bool = False) -> int:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    holders.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    if stopped:
        os.kill(process.pid, signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
    return process.pid


@pytest.mark.parametrize("stopped", [False, True])
def test_a_lock_that_is_not_freed_is_told_of_and_then_given_up(
    tmp_path: Path, holders: list[subprocess.Popen[str]], capsys: pytest.CaptureFixture[str], stopped: bool
) -> None:
    path = tmp_path / "a.lock"
    pid = hold(holders, path, stopped=stopped)
    expected = rf"expected .*a\.lock to be free, got it held by process {pid} \(.*python"
    with pytest.raises(LockHeldError, match=expected), exclusive(path, seconds=3):
        pass
    said = capsys.readouterr().err
    assert said.startswith(f"waiting for {path}, which is held by process {pid} (")
    assert said.count("\n") == 1
    assert (f"which is stopped: `kill -CONT {pid}` lets it go on" in said) == stopped


def test_a_lock_is_taken_as_soon_as_its_holder_has_ended(tmp_path: Path, holders: list[subprocess.Popen[str]]) -> None:
    pid = hold(holders, tmp_path / "a.lock", stopped=True)
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    with exclusive(tmp_path / "a.lock", seconds=60):
        assert time.monotonic() - began < 30


def test_the_drop_folder_and_the_run_folder_are_not_waited_for_without_end(
    tmp_path: Path, holders: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATIENCE, "0")
    hold(holders, tmp_path / ".admission.lock", stopped=True)
    with pytest.raises(LockHeldError, match=r"admission\.lock to be free"), DropFolder(str(tmp_path)).locked():
        pass
    hold(holders, tmp_path / "run" / "writer.lock", stopped=True)
    with pytest.raises(RunHeldError, match=r"writer\.lock to be free"):
        FolderLedger(tmp_path).hold("run")


def test_a_cache_computes_what_a_stopped_process_was_computing(
    tmp_path: Path, holders: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATIENCE, "0")
    FolderCache(tmp_path).lookup("training", {"a": 1}, lambda: CachedResult({"is": 2}, {}))
    (entry,) = (tmp_path / "training").rglob("*.safetensors")
    entry.unlink()
    hold(holders, tmp_path / LOCKS / f"{entry.stem}.lock", stopped=True)
    again = FolderCache(tmp_path).lookup("training", {"a": 1}, lambda: CachedResult({"is": 3}, {}))
    assert again.values == {"is": 3}


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"), exclusive(tmp_path / "a.lock"):
        pass
