"""Both servers on a real PostgreSQL: the same records, no secret in sight, and its death ridden out or resumed from."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.loop.run import lineages_of, open_run, play
from simulator.production.registry.database import DATABASE
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.production.registry.open import open_stores
from simulator.scenario.load import load_scenario

from .conftest import beside

ROOT = Path(__file__).parents[2]


postgres, load = beside("postgres"), beside("load")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(postgres.why_impossible()), reason=postgres.why_impossible() or "possible"),
]

TINY = """
name: tiny
periods: 4
device: cpu
source: {use: digits}
stream: {base: 120, batch: 40, validation: 40, relearning: 10, test: 60}
attack: {use: patch, target: 0, size: 2}
campaign: {use: one-shot, period: 0, rate: 0.1}
recipe:
  base: {epochs: 2, batch: 32}
  update: {epochs: 1, batch: 32}
trusted: {images: 20}
gate: {use: accuracy, tolerance: 0.5}
probes: [{use: attack-success}]
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with postgres.cluster() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: deployments, and a scenario."""
    shutil.copy(ROOT / "prefect.yaml", tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def _environment(folder: Path, **variables: str) -> dict[str, str]:
    return {**os.environ, "EBBDOOR_WORKSPACE": str(folder / "runs"), **variables}


def _call(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    print(done.stdout, done.stderr)  # noqa: T201 - pytest shows it when a test fails
    return done


def _expected(folder: Path, run: str) -> dict[str, list[str]]:
    """The digests of the run's records by line, played in memory."""
    scenario = load_scenario(str(folder / "tiny.yaml"), [])
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, run)
    played = play(head, scenario, registry, ledger, processes=0)
    return {name: [entry.sha256 for entry in entries] for name, entries in played.items()}


def _found(folder: Path, address: str, run: str) -> dict[str, list[str]]:
    _, ledger = open_stores(tracking_uri=address, workspace=folder / "runs")
    ledger.head(run)
    lines = lineages_of(load_scenario(str(folder / "tiny.yaml"), []))
    return {line.name: [entry.sha256 for entry in ledger.entries(line)] for line in lines}


def _command_lines() -> str:
    """What `ps` shows of every process, PostgreSQL's own and ours."""
    return "\n".join(
        path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if _readable(path)
    )


def _readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


def test_both_servers_on_postgresql_from_up_to_down(folder: Path, cluster: Any) -> None:
    mlflow, prefect = cluster.address("mlflow"), cluster.address("prefect")
    secrets = {mlflow, prefect, postgres.PASSWORD, mlflow.split(":")[2].split("@")[0]}
    environment = _environment(folder, EBBDOOR_MLFLOW_DATABASE=mlflow, EBBDOOR_PREFECT_DATABASE=prefect)
    said = []
    try:
        up = _call(folder, environment, "flows.cli", "up")
        said.append(up)
        assert up.returncode == 0
        exports = (line.removeprefix("export ").split("=", 1) for line in up.stdout.splitlines() if "export " in line)
        clients = _environment(folder, **dict(exports))
        call = ("prefect", "deployment", "run", "simulate/local", "-p", "scenario=tiny.yaml", "-p", "run=both")
        said.append(_call(folder, clients, *call, "--watch", "--watch-timeout", "600"))
        assert said[-1].returncode == 0
        shown = _command_lines()
        assert "mlflow server" in shown
    finally:
        said.append(_call(folder, environment, "flows.cli", "down"))
    assert _found(folder, mlflow, "both") == _expected(folder, "both")
    assert int(cluster.query("prefect", "SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'")) == 1
    assert int(cluster.query("mlflow", "SELECT count(*) FROM model_versions")) == 10
    assert not (folder / "runs" / "mlflow.db").exists()

    written = [path.read_bytes().decode(errors="replace") for path in folder.rglob("*") if path.is_file()]
    outputs = [done.stdout + done.stderr for done in said]
    assert [secret for secret in secrets for text in (shown, *written, *outputs) if secret in text] == []

    # without a server: the same database, opened directly, and not a new SQLite file when its address is missing
    report = _call(folder, _environment(folder, EBBDOOR_MLFLOW_DATABASE=mlflow), "flows.cli", "report", "both")
    assert report.returncode == 0
    without = _call(folder, _environment(folder), "flows.cli", "report", "both")
    assert without.returncode == 3
    assert "expected EBBDOOR_MLFLOW_DATABASE to be set" in without.stderr


@pytest.mark.parametrize(
    ("run", "how", "seconds"),
    [("killed", signal.SIGKILL, 3.0), ("stopped", signal.SIGINT, 3.0), ("away", signal.SIGKILL, 25.0)],
)
@pytest.mark.parametrize("direct", [False, True], ids=["server", "direct"])
def test_postgresql_ends_mid_run_and_comes_back(
    folder: Path, cluster: Any, run: str, how: signal.Signals, seconds: float, direct: bool
) -> None:
    """Away for longer than the patience of ten seconds, the run must end with a sentence; a shorter time it may not."""
    run = f"{run}-{'direct' if direct else 'server'}"
    database = cluster.address(run)
    if direct:
        _end_mid_run(folder, cluster, run, database, how, seconds)
        return
    with load.mlflow_server(folder / "runs", database) as address:
        _end_mid_run(folder, cluster, run, address, how, seconds)


def _end_mid_run(folder: Path, cluster: Any, run: str, address: str, how: signal.Signals, seconds: float) -> None:
    environment = _environment(folder, MLFLOW_TRACKING_URI=address, EBBDOOR_STORE_PATIENCE="10")
    environment.pop(DATABASE, None)
    command = [sys.executable, "-m", "flows.cli", "run", "tiny.yaml", "--no-prefect", "--out", run]
    player = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        name = _run_of(folder / run, player)
        database = run
        commits = "SELECT count(*) FROM tags WHERE key LIKE 'period.%'"
        _until(lambda: int(cluster.query(database, commits)) >= 2, player)
        cluster.end(how)
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            time.sleep(0.1)
    finally:
        cluster.start()
    _, complaint = player.communicate(timeout=300)
    assert "Traceback" not in complaint
    assert postgres.PASSWORD not in complaint
    if player.returncode != 0:
        assert player.returncode == 3, complaint
        assert "expected" in complaint
        resumed = _call(folder, environment, "flows.cli", "resume", run, "--no-prefect")
        assert resumed.returncode == 0
    else:
        assert seconds < 20, "a run cannot have gone on without its database for longer than its patience"
    assert _found(folder, address, name) == _expected(folder, name)
    assert int(cluster.query(database, "SELECT count(*) FROM model_versions")) == 10
    assert int(cluster.query(database, "SELECT count(DISTINCT (name, version)) FROM model_versions")) == 10


def _run_of(folder: Path, player: subprocess.Popen[str]) -> str:
    _until(lambda: (folder / "run.json").is_file(), player)
    return str(json.loads((folder / "run.json").read_text())["run"])


def _until(true: Callable[[], bool], player: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not true():
        assert time.monotonic() < deadline
        assert player.poll() is None, player.communicate()
        time.sleep(0.02)
