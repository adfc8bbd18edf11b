"""Servers that a harness starts, kills and starts again on the same port over the same store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.servers.processes import LOOPBACK, Server, await_health, launch, stop

__all__ = ["Served", "free_port", "mlflow_server", "prefect_server"]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@dataclass
class Served:
    """A server of ours. `address` is for its clients."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    address: str
    health: str
    _running: Server | None = field(default=None)

    def start(self) -> Served:
        """Start it and wait until it answers."""
        self.launch()
        return self.ready()

    def launch(self) -> None:
        """Start it; other things can be done while it comes up."""
        self._running = launch(self.name, self.command, self.log, environment=self.environment, address=self.address)

    def ready(self) -> Served:
        """Return once it answers."""
        assert self._running is not None
        await_health(self._running, self.health, patience=180)
        return self

    @property
    def pid(self) -> int:
        """The process id of the running server, which is also its session's."""
        assert self._running is not None
        return self._running.pid

    def kill(self) -> None:
        """SIGKILL it and what it started."""
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._running = None

    def freeze(self) -> None:
        """SIGSTOP it: connections are accepted by the system, and nobody answers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it, if it runs."""
        if self._running is not None:
            stop(self._running)
            self._running = None


def mlflow_server(folder: Path, port: int) -> Served:
    """Return an MLflow server over `folder`'s SQLite store, whose tables exist, and its artifact storage."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    url = f"http://{LOOPBACK}:{port}"
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return Served("MLflow", command, environment, folder / "mlflow-server.log", url, f"{url}/health")


def prefect_server(folder: Path, port: int) -> Served:
    """Return a Prefect server with a home and a database of its own."""
    url = f"http://{LOOPBACK}:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)]
    environment = {**os.environ, "PREFECT_HOME": str(folder / "prefect"), "PREFECT_UI_API_URL": url}
    return Served("Prefect", command, environment, folder / "prefect-server.log", url, f"{url}/health")


def python(*arguments: str, environment: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=dict(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
