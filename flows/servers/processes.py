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

from simulator.errors import StoreError
from simulator.system.files import replace_file

__all__ = [
    "Server",
    "alive",
    "answers",
    "await_health",
    "choose_port",
    "launch",
    "note_servers",
    "noted_servers",
    "stop",
]

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
        return [Server(**item) for item in json.loads(path.read_text())]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise StoreError(f"expected {path} to list servers, got something else; remove it") from error


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
    return Server(name, child.pid, _started_at(child.pid) or "", str(log), address, variable)


def alive(server: Server) -> bool:
    """Return whether the very process that was started is still running."""
    return bool(server.started) and _started_at(server.pid) == server.started


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


def _started_at(pid: int) -> str | None:
    """Return when a process started, as the system writes it, or None when it is not running."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = answer.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def _owns(pid: int, port: int) -> bool:
    """Return whether a process of session `pid` listens on `port`. Where there is no /proc, being alive must do."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        return True
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
    return any(sockets & _open_files(member) for member in _session(pid))


def _session(leader: int) -> list[int]:
    members = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader:
                members.append(int(folder.name))
    return members


def _open_files(pid: int) -> set[str]:
    try:
        return {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()


def _last_words(server: Server) -> str:
    lines = Path(server.log).read_text(errors="replace").strip().splitlines()
    return f", which ends: {lines[-1].strip()}" if lines else ""
