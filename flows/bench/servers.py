"""A bench's own Prefect and MLflow servers, over SQLite in a folder that is removed; and their CPU seconds."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flows.servers.databases import PRIVATE
from flows.servers.processes import Server, await_health, choose_port, stop
from flows.servers.start import launch_mlflow, launch_prefect
from flows.settings import WORKSPACE

#: variables that would lead the servers or their clients to other stores
_ELSEWHERE = (*PRIVATE, "MLFLOW_TRACKING_URI", "PREFECT_API_URL")


@dataclass(frozen=True, slots=True)
class BenchServers:
    """Running servers, the wall seconds until both answered over existing stores, and their clients' variables."""

    servers: tuple[Server, ...]
    start_seconds: float
    variables: Mapping[str, str]

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds of each so far, by name."""
        return {server.name: cpu_seconds(server) for server in self.servers}


@contextmanager
def bench_servers(say: Callable[[str], None]) -> Iterator[BenchServers]:
    """Start the servers twice: the first start makes their stores, the second is timed. In the end they are stopped."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ebbdoor-bench-", ignore_cleanup_errors=True))
        workspace = Path(folder)
        own = {WORKSPACE: folder, "PREFECT_HOME": str(workspace / "prefect")}
        stack.enter_context(_environment(own))
        say("starting a Prefect and an MLflow server over new stores")
        with _running(workspace):
            pass
        say("starting them again over the stores that are there now")
        began = time.perf_counter()
        servers = stack.enter_context(_running(workspace))
        taken = time.perf_counter() - began
        yield BenchServers(servers, taken, {**own, **{server.variable: server.address for server in servers}})


@contextmanager
def _running(workspace: Path) -> Iterator[tuple[Server, ...]]:
    with ExitStack() as stack:
        began: list[Server] = []
        for launch, port in ((launch_prefect, 4200), (launch_mlflow, 5000)):
            began.append(launch(workspace, choose_port(None, port)))
            stack.callback(stop, began[-1])
        for server in began:
            await_health(server, f"{server.address}/health")
        yield tuple(began)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set `values` in this process's environment, which the servers inherit, without what leads to other stores."""
    before = dict(os.environ)
    for name in _ELSEWHERE:
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def cpu_seconds(server: Server) -> float:
    """CPU seconds of the server and of all processes under it, ended children included."""
    import psutil

    if not psutil.pid_exists(server.pid):
        return 0.0
    process, seconds = psutil.Process(server.pid), 0.0
    for member in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            seconds += sum(member.cpu_times()[:4])  # its own, then its ended children's; user and system each
    return seconds
