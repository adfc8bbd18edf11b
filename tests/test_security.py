"""What docs/threat-model.md claims and a test can see. That nothing is unpickled: see test_import_rules.py."""

from __future__ import annotations

import ast
import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from flows.servers.processes import LOOPBACK, Server, await_health, stop
from flows.servers.start import launch_mlflow
from simulator.production.defending.environment import stripped

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for package in ("simulator", "flows", "defenses") for path in (ROOT / package).rglob("*.py"))
TELEMETRY_OFF = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


def test_servers_that_we_start_are_bound_to_loopback() -> None:
    assert LOOPBACK == "127.0.0.1"
    texts = {path: path.read_text("utf-8") for path in SOURCES}
    assert [path for path, text in texts.items() if "0.0.0.0" in text] == []
    binds = {match for text in texts.values() for match in re.findall(r"\.bind\(\((.*?),", text)}
    assert binds <= {"LOOPBACK", '"127.0.0.1"'}
    starters = [path for path, text in texts.items() if re.search(r'"mlflow", "server"|"server", "start"', text)]
    assert [path.name for path in starters] == ["start.py"]
    commands = [words for words in _lists_of_words(starters[0]) if "server" in words]
    assert len(commands) == 2
    assert all("--host" in words for words in commands)


@pytest.mark.parametrize("file", ["flows", "docker", "prefect.yaml", "Makefile"])
def test_mlflows_host_check_is_never_switched_off(file: str) -> None:
    place = ROOT / file
    paths = [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [place]
    texts = [path.read_text("utf-8") for path in paths if path.suffix != ".pyc"]
    switches = r"disable.security.middleware|allowed.hosts\W*\*|gunicorn.opts|waitress.opts"
    assert [text for text in texts if re.search(switches, text, re.IGNORECASE)] == []


@pytest.mark.parametrize(
    "module",
    [
        "flows.cli",
        "flows.servers.databases",
        "flows.servers.pools",
        "flows.servers.start",
        "flows.simulate",
        "flows.advance",
    ],
)
def test_telemetry_is_off_in_every_entry_point(module: str) -> None:
    # the package is imported before any of its modules, so importing it is what each of them begins with
    code = f"import {module.partition('.')[0]}, os, json; print(json.dumps(dict(os.environ)))"
    assert (ROOT / Path(*module.split("."))).with_suffix(".py").is_file()
    clean = {name: value for name, value in os.environ.items() if name not in TELEMETRY_OFF}
    done = subprocess.run([sys.executable, "-c", code], env=clean, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert {name: found.get(name) for name in TELEMETRY_OFF} == TELEMETRY_OFF


def test_every_entry_point_is_in_the_package_that_switches_telemetry_off() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    scripts = project.partition("[project.scripts]")[2].partition("\n[")[0]
    assert re.findall(r'= "([a-z]+)\.', scripts) == ["flows"]
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]
    for deployment in deployments:
        assert deployment["entrypoint"].startswith("flows.")
        variables = deployment["work_pool"]["job_variables"]["env"]
        assert {name: variables.get(name) for name in ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY")} == {
            "DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }


def test_a_defenses_worker_gets_no_address_of_a_store_and_stays_quiet() -> None:
    secrets = {
        "EBBDOOR_MLFLOW_DATABASE": "postgresql://ann:s3same@db/runs",
        "EBBDOOR_PREFECT_DATABASE": "postgresql://ann:s3same@db/prefect",
        "MLFLOW_BACKEND_STORE_URI": "postgresql://ann@db/runs",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
        "PREFECT_API_AUTH_STRING": "ann:s3same",
        "PGPASSWORD": "s3same",
    }
    left = stripped({**secrets, "DO_NOT_TRACK": "true", "PATH": "/bin"}, 1)
    assert not secrets.keys() & left.keys()
    assert left["DO_NOT_TRACK"] == "true"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_mlflow_server_of_ours_refuses_foreign_names(mlflow: Server) -> None:
    port = int(urlsplit(mlflow.address).port or 0)
    call = ("POST", "/api/2.0/mlflow/experiments/create")
    assert _status(port, *call, Host=f"localhost:{port}") == 200
    assert _status(port, *call, Host="evil.example") == 403
    assert _status(port, *call, Host=f"localhost:{port}", Origin="http://evil.example") == 403
    words = Path(f"/proc/{mlflow.pid}/cmdline").read_bytes().decode().split("\0")
    assert words[words.index("--host") + 1] == LOOPBACK
    assert not any("sqlite" in word or "store-uri" in word for word in words)
    assert _listening(port) == {LOOPBACK}


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = int(probe.getsockname()[1])
    server = launch_mlflow(tmp_path, port)
    try:
        await_health(server, f"{server.address}/health")
        yield server
    finally:
        stop(server)


def _status(port: int, method: str, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
    body = json.dumps({"name": f"x{len(headers)}"})
    connection.request(method, path, body, {**headers, "Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


def _listening(port: int) -> set[str]:
    """The addresses on which some process of this machine listens at `port`."""
    found: set[str] = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, number = line.split()[1].split(":")
        if int(number, 16) == port and line.split()[3] == "0A":
            found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]))
    return found


def _lists_of_words(path: Path) -> list[list[str]]:
    """The literal words of every list in a file."""
    lists = [node.elts for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.List)]
    return [[str(item.value) for item in items if isinstance(item, ast.Constant)] for items in lists]
