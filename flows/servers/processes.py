"""Processes that outlive the command which started them: start, recognise, stop.

A process id alone is not an identity, for the system reuses ids; id and start time together are.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from simulator.errors import StoreError
from simulator.system.files import replace_file
from simulator.system.holder import started

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Server:
    """A process we started. `variable` is the environment variable that holds `address` for its users, if any."""

    name: str
    pid: int
    started: str
    log: str
    address: str = ""
    variable: str = ""


def note_servers(path: Path, servers: Sequence[Server]) -> None:
    """Write the servers into the state file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps([asdict(server) for server in servers], indent=2) + "\n")


def noted_servers(path: Path) -> list[Server]:
    """Return the servers of a state file; none when there is no file."""
    try:
        return [Server(**item) for item in json.loads(path.read_text("utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise StoreError(f"expected {path} to list servers, got something else; remove it") from error


def is_loopback(address: str) -> bool:
    """Return whether a server's address is of this machine, as are those of all that we start.

    A state file of a folder that somebody gave away could name another one.
    """
    return urlsplit(address).hostname == LOOPBACK


def choose_port(wanted: int | None, preferred: int) -> int:
    """Return the port `wanted`, or else `preferred` when free, or else any free one."""
    if wanted is not None:
        if not _free(wanted):
            raise StoreError(f"expected port {wanted} to be free, got one in use; choose another port")
        return wanted
    if _free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def launch(
    name: str,
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str],
    address: str = "",
    variable: str = "",
) -> Server:
    """Start `command` in a session of its own, writing to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=dict(environment),
            start_new_session=True,
        )
    # Its end is read from the process table, for another command may be the one that stops it.
    child.returncode = 0
    return Server(name, child.pid, started(child.pid) or "", str(log), address, variable)


def alive(server: Server) -> bool:
    """Return whether the very process that was started is still running."""
    return bool(server.started) and started(server.pid) == server.started


def await_health(server: Server, url: str, *, patience: float = 120.0) -> None:
    """Return once `url` answers and the port belongs to `server`; raise `StoreError` when it ended or took too long."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if not alive(server):
            raise StoreError(f"expected the {server.name} to run, got its end; read {server.log}{_last_words(server)}")
        if answers(url) and _owns(server.pid, int(url.split(":")[2].split("/")[0])):
            return
        time.sleep(0.1)
    raise StoreError(f"expected the {server.name} to answer in {patience:.0f} s, got nothing; read {server.log}")


def stop(server: Server, *, patience: float = 10.0) -> str:
    """End the process and what it started, and say how: `stopped`, `killed` or `was gone`.

    TERM first; KILL to the whole session after `patience` seconds, or for children that outlive their parent.
    """
    if not alive(server):
        return "was gone"
    os.kill(server.pid, signal.SIGTERM)
    word = "stopped" if _gone(server, patience) else "killed"
    with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, when only the dead leader is left
        os.killpg(server.pid, signal.SIGKILL)
    _gone(server, 5.0)
    return word


def _gone(server: Server, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while alive(server):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    with suppress(ChildProcessError):  # it is a child only of the process that started it
        os.waitpid(server.pid, os.WNOHANG)
    return True


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def answers(url: str) -> bool:
    """Return whether a server answers at `url`, on this machine, within two seconds."""
    try:
        # No proxy: the address is on this machine.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as answer:
            return int(answer.status) == 200
    except (OSError, urllib.error.URLError):
        return False


def _owns(pid: int, port: int) -> bool:
    """Return whether a process or one that it started listens on `port`."""
    import psutil

    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        sockets = [found for member in family for found in member.net_connections("tcp")]
    except psutil.Error:  # one has just ended: its caller asks again
        return False
    return any(found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in sockets)


def _last_words(server: Server) -> str:
    lines = Path(server.log).read_text(errors="replace").strip().splitlines()
    return f", which ends: {lines[-1].strip()}" if lines else ""
