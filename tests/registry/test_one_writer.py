"""A run has one writer; a dead one is replaced, an unknown one only when told to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from simulator.errors import RunHeldError, StoreError
from simulator.production.registry.base import Ledger
from simulator.production.registry.folder import FolderLedger
from simulator.production.registry.naming import lock_model
from simulator.production.registry.open import open_stores
from simulator.system.holder import Holder

Opened = Callable[[], Ledger]


@pytest.fixture(params=["folder", "mlflow"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def another(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    if kind == "folder":
        return lambda: FolderLedger(tmp_path / "runs")
    workspace = request.getfixturevalue("workspace")
    return lambda: open_stores(tracking_uri=None, workspace=workspace)[1]


@pytest.fixture
def held_by(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Holder], None]:
    """A function that writes a lock as that holder would have left it."""

    def write(holder: Holder) -> None:
        if kind == "folder":
            path = tmp_path / "runs" / "r1" / "writer.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(holder.values()))
        else:
            client: Any = request.getfixturevalue("client")
            client.create_registered_model(lock_model("r1"), tags={"run": "r1", **holder.values()})

    return write


@pytest.fixture(scope="module")
def dead() -> Holder:
    """A real process of this host that has ended."""
    code = "import json; from simulator.system.holder import Holder; print(json.dumps(Holder.current().values()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Holder.of(json.loads(done.stdout), "the child")


def test_a_second_writer_is_refused_and_told_who_holds_the_run(another: Opened) -> None:
    first, second = another(), another()
    first.hold("r1")
    first.hold("r1")
    with pytest.raises(RunHeldError, match=f"held by process {os.getpid()} on host"):
        second.hold("r1")
    with pytest.raises(RunHeldError, match="end that process"):
        second.hold("r1", take_over=True)  # alive, here: never taken over
    second.release()  # it holds nothing: nothing happens
    with pytest.raises(RunHeldError, match="to be free"):
        another().hold("r1")
    first.release()
    second.hold("r1")
    second.release()


def test_two_runs_do_not_hold_each_other(another: Opened) -> None:
    first, second = another(), another()
    first.hold("r1")
    second.hold("r1-b")
    first.release()
    second.release()


def test_holding_another_run_lets_the_first_go(another: Opened) -> None:
    ledger = another()
    ledger.hold("r1")
    ledger.hold("r2")
    another().hold("r1")
    with pytest.raises(RunHeldError, match="'r2' to be free"):
        another().hold("r2")


def test_a_dead_holder_is_taken_over(another: Opened, held_by: Callable[[Holder], None], dead: Holder) -> None:
    held_by(dead)
    first = another()
    first.hold("r1")
    with pytest.raises(RunHeldError, match=f"process {os.getpid()} "):
        another().hold("r1")
    first.release()
    another().hold("r1")


def test_a_process_id_used_again_is_not_the_holder(
    another: Opened, held_by: Callable[[Holder], None], dead: Holder
) -> None:
    held_by(replace(dead, pid=str(os.getpid())))  # its number now belongs to another process
    another().hold("r1")


def test_a_holder_elsewhere_needs_take_over(another: Opened, held_by: Callable[[Holder], None], dead: Holder) -> None:
    held_by(replace(dead, host="elsewhere"))
    with pytest.raises(RunHeldError, match=r"on host 'elsewhere'; .*`--take-over`"):
        another().hold("r1")
    ledger = another()
    ledger.hold("r1", take_over=True)
    with pytest.raises(RunHeldError, match=f"process {os.getpid()} "):
        another().hold("r1", take_over=True)
    ledger.release()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the note is made of what /proc says")
@pytest.mark.parametrize("alive", [True, False], ids=["alive", "ended"])
def test_a_note_of_before_psutil_is_understood(
    another: Opened, held_by: Callable[[Holder], None], dead: Holder, alive: bool
) -> None:
    """The text of `started` was the 22nd field of /proc/PID/stat: clock ticks since the machine was started."""
    boot = f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    pid = str(os.getpid()) if alive else dead.pid
    held_by(Holder(socket.gethostname(), boot, pid, started if alive else dead.started, "0" * 32))
    if alive:
        with pytest.raises(RunHeldError, match=f"held by process {os.getpid()} on host"):
            another().hold("r1", take_over=True)
    else:
        another().hold("r1")


def test_setting_the_clock_kills_no_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil takes the time of the boot from the clock, so that times of its processes move with it."""
    import psutil

    holder = Holder.current()
    honest = psutil.boot_time()
    for module in (psutil, psutil._psplatform):
        monkeypatch.setattr(module, "boot_time", lambda: honest + 3600)
    assert not holder.is_dead
    assert Holder.current().started == holder.started


def test_an_older_boot_counts_as_elsewhere(another: Opened, held_by: Callable[[Holder], None], dead: Holder) -> None:
    held_by(replace(dead, boot="another boot"))
    with pytest.raises(RunHeldError, match="--take-over"):
        another().hold("r1")


def test_a_take_over_that_was_itself_killed_is_taken_over(workspace: Path, client: Any, dead: Holder) -> None:
    killed = replace(dead, token="f" * 32)
    client.create_registered_model(lock_model("r1"), tags=dead.values())
    client.create_registered_model(f"{lock_model('r1')}.{dead.token[:8]}", tags=killed.values())
    ledger = open_stores(tracking_uri=None, workspace=workspace)[1]
    ledger.hold("r1")
    assert [model.name for model in client.search_registered_models()] == [lock_model("r1")]
    ledger.release()
    assert list(client.search_registered_models()) == []


def test_of_many_that_find_a_dead_holder_one_wins(
    another: Opened, held_by: Callable[[Holder], None], dead: Holder
) -> None:
    held_by(dead)
    ledgers = [another() for _ in range(6)]
    start = Barrier(len(ledgers))

    def try_to_hold(ledger: Ledger) -> bool:
        start.wait()
        try:
            ledger.hold("r1")
        except RunHeldError:
            return False
        return True

    with ThreadPoolExecutor(len(ledgers)) as pool:
        assert sorted(pool.map(try_to_hold, ledgers)) == [False] * 5 + [True]
    with pytest.raises(RunHeldError, match=f"process {os.getpid()} "):
        another().hold("r1")


def test_a_broken_lock_says_what_to_remove(tmp_path: Path) -> None:
    path = tmp_path / "r1" / "writer.json"
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(StoreError, match=r"writer\.json to name a host and a process"):
        FolderLedger(tmp_path).hold("r1")


@pytest.mark.parametrize("left", [True, False], ids=["taken over", "removed"])
def test_a_holder_that_lost_its_lock_leaves_what_is_there(tmp_path: Path, left: bool) -> None:
    path = tmp_path / "r1" / "writer.json"
    ledger = FolderLedger(tmp_path)
    ledger.hold("r1")
    path.unlink()
    if left:
        path.write_text(json.dumps(replace(Holder.current(), token="f" * 32).values()))
    ledger.release()
    assert path.exists() is left
