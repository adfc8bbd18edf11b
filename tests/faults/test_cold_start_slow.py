"""Eight processes open a fresh store at once: one makes the tables, the others wait, and all succeed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.production.registry.database import DATABASE

from .conftest import beside

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROCESSES = 8
_OPEN = """
import sys
from pathlib import Path
from simulator.production.registry.open import open_stores
from simulator.production.registry.environment import prepare_environment
prepare_environment()
import mlflow
print("ready", flush=True)
sys.stdin.readline()
registry, ledger = open_stores(tracking_uri=sys.argv[2] or None, workspace=Path(sys.argv[1]))
print(len(ledger.runs()))
"""


postgres, load = beside("postgres"), beside("load")


@pytest.fixture(params=["workspace", "server", "postgresql", "postgresql of the workspace", "server on postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a fresh store (none: the workspace's) and the environment to open it in."""
    if "postgresql" not in request.param:
        if request.param == "workspace":
            yield "", {}
            return
        with load.mlflow_server(tmp_path / "store") as address:
            yield address, {}
        return
    if postgres.why_impossible():
        pytest.skip(postgres.why_impossible())
    with postgres.cluster() as cluster:
        database = cluster.address("fresh")
        if request.param == "server on postgresql":
            with load.mlflow_server(tmp_path / "store", database) as address:
                yield address, {}
        elif request.param == "postgresql":
            yield database, {}
        else:
            yield "", {DATABASE: database}


def test_many_processes_open_a_fresh_store_at_once(store: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    address, variables = store
    call = [sys.executable, "-c", _OPEN, str(tmp_path / "store"), address]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(call, env={**os.environ, **variables}, **pipes) for _ in range(PROCESSES)]
    try:
        assert [child.stdout.readline() for child in children] == ["ready\n"] * PROCESSES
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        results = [child.communicate(timeout=300) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert [answer for answer, _ in results] == ["0\n"] * PROCESSES
    said = [line for _, lines in results for line in lines.splitlines()]
    assert [line for line in said if not line.startswith("waiting for ")] == []  # on a busy machine they wait longer
    assert [child.returncode for child in children] == [0] * PROCESSES
