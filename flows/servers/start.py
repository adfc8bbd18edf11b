"""What `ebbdoor up` starts and `ebbdoor down` stops: a Prefect server, an MLflow server, and workers, on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flows.servers.blank import lay_for
from flows.servers.databases import mlflow_variables, prefect_variables, without_addresses
from flows.servers.processes import (
    LOOPBACK,
    Server,
    alive,
    await_health,
    choose_port,
    launch,
    note_servers,
    noted_servers,
    stop,
)
from flows.servers.shell import shell_file, write_shell_file
from flows.servers.worker import remove_storage, storage_of
from flows.settings import own_addresses, state_file
from simulator.errors import StoreError
from simulator.system.environment import child_environment

#: work pool -> how many flow runs it plays at a time (None: as many as come)
POOLS: dict[str, int | None] = {"ebbdoor-local": None, "ebbdoor-gpu": 1, "ebbdoor-timelines": None}

#: the pool of one-thread timelines, of which this machine plays as many at a time as it has cores
_TIMELINES = "ebbdoor-timelines"

Say = Callable[[str], None]


def start(workspace: Path, *, prefect_port: int | None, mlflow_port: int | None, say: Say) -> dict[str, str]:
    """Start servers and workers, register the deployments of `prefect.yaml`, and note all in the state file.

    A server whose address the user has set is used and not started. Either all comes up, or what came up is stopped
    again and `StoreError` says what did not. Called again while all is running, it changes nothing. Returns the
    environment variables that lead other programs to the servers.
    """
    known = noted_servers(state_file(workspace))
    if known and all(alive(server) for server in known):
        say("already running")
        return {server.variable: server.address for server in known if server.variable}
    if known:
        stop_all(workspace)
    return _start_all(workspace, prefect_port, mlflow_port, say)


def stop_all(workspace: Path) -> dict[str, str]:
    """Stop what the state file notes, workers first, and return how each ended. Nothing else is touched."""
    servers = noted_servers(state_file(workspace))
    ended: dict[str, str] = {}
    workers = [server for server in servers if not server.address]
    for server in workers:
        ended[server.name] = stop(server)
    remove_storage(workspace)
    prefect = next((server for server in servers if server.variable == "PREFECT_API_URL" and alive(server)), None)
    if prefect is not None and workers:
        cleared = _python(
            "flows.servers.pools", "clear", environment=_environment(workspace, {"PREFECT_API_URL": prefect.address})
        )
        if cleared.returncode == 0 and cleared.stdout.strip() != "0":
            ended["interrupted flow runs"] = f"{cleared.stdout.strip()}, marked as crashed"
    for server in reversed([server for server in servers if server.address]):
        ended[server.name] = stop(server)
    for path in (state_file(workspace), shell_file(workspace)):
        path.unlink(missing_ok=True)
    return ended


def status(workspace: Path) -> list[dict[str, Any]]:
    """Return what the state file notes, and whether each is running."""
    return [
        {
            "name": server.name,
            "state": "running" if alive(server) else "ended",
            "page": page(server.address),
            "pid": server.pid,
            "log": server.log,
        }
        for server in noted_servers(state_file(workspace))
    ]


def _start_all(workspace: Path, prefect_port: int | None, mlflow_port: int | None, say: Say) -> dict[str, str]:
    began: list[Server] = []
    variables = own_addresses()
    try:
        if "PREFECT_API_URL" not in variables:
            began.append(launch_prefect(workspace, choose_port(prefect_port, 4200)))
            note_servers(state_file(workspace), began)  # before anything else can fail: only what is noted is stopped
        if "MLFLOW_TRACKING_URI" not in variables:
            began.append(launch_mlflow(workspace, choose_port(mlflow_port, 5000)))
        note_servers(state_file(workspace), began)
        for server in began:
            await_health(server, f"{server.address}/health")
            variables[server.variable] = server.address
            say(f"{server.name} is up")
        environment = _environment(workspace, variables)
        _register(environment)
        say("deployments are registered")
        began += [_worker(workspace, pool, environment) for pool in POOLS]
        note_servers(state_file(workspace), began)
    except BaseException:
        stop_all(workspace)
        raise
    write_shell_file(shell_file(workspace), variables)
    return variables


def launch_prefect(workspace: Path, port: int) -> Server:
    """Start a Prefect server over the workspace's database; it is up when `/health` below its address answers."""
    url = f"http://{LOOPBACK}:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)]
    environment = _environment(workspace, {"PREFECT_UI_API_URL": url, **prefect_variables()})
    lay_for(environment)
    log = workspace / "logs" / "prefect-server.log"
    return launch("Prefect", command, log, environment=environment, address=url, variable="PREFECT_API_URL")


def launch_mlflow(workspace: Path, port: int) -> Server:
    """Start an MLflow server over the workspace's store; it is up when `/health` below its address answers."""
    # The store is made before the server opens it: its schema once, and its artifacts where runs without a server
    # find them too. Its database's address may hold a password, so no command line shows it.
    environment = _environment(workspace, mlflow_variables(workspace))
    made = _python("flows.servers.databases", str(workspace), environment=environment)
    if made.returncode:
        raise StoreError(f"expected a store in {workspace}, got none; {made.stderr.strip()}")
    url = f"http://{LOOPBACK}:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    command += ["--artifacts-destination", str(workspace / "artifacts")]
    log = workspace / "logs" / "mlflow-server.log"
    return launch("MLflow", command, log, environment=environment, address=url, variable="MLFLOW_TRACKING_URI")


def _worker(workspace: Path, pool: str, environment: Mapping[str, str]) -> Server:
    command = [sys.executable, "-m", "flows.servers.worker", str(storage_of(workspace))]
    command += ["--pool", pool, "--type", "process", "--name", pool]
    if pool == _TIMELINES:
        command += ["--limit", str(os.cpu_count() or 1)]
    return launch(f"worker {pool}", command, workspace / "logs" / f"worker-{pool}.log", environment=environment)


def _register(environment: Mapping[str, str]) -> None:
    """Make the pools, register every deployment of `prefect.yaml` without a question, and what calls one."""
    deploy = ("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(_project_file()))
    steps = (("flows.servers.pools", "make"), deploy, ("flows.servers.pools", "answer"))
    for step in steps:
        made = _python(*step, environment=environment)
        if made.returncode:
            raise StoreError(f"expected prefect.yaml to be registered, got:\n{(made.stdout + made.stderr).strip()}")


def _project_file() -> Path:
    """The file of deployments: of this folder, where it has one for ebbdoor, else the one that is installed."""
    here = Path("prefect.yaml").absolute()
    if here.is_file() and re.search(r"^name: ebbdoor\s*$", here.read_text("utf-8"), re.MULTILINE):
        return here
    return Path(__file__).parents[1] / "prefect.yaml"


def _python(module: str, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _environment(workspace: Path, variables: Mapping[str, str]) -> dict[str, str]:
    # PWD is where prefect.yaml lets runs start; a shell may have left another.
    return {
        **without_addresses(child_environment()),
        "EBBDOOR_WORKSPACE": str(workspace),
        "PWD": str(Path.cwd()),
        **variables,
    }


def page(address: str) -> str:
    """Return the address of a server's pages."""
    return address.removesuffix("/api")
