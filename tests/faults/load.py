"""Several runs at once against one MLflow server: nothing is lost, and how fast it goes.

    python tests/faults/load.py --runs 4 --periods 20

Each run is a process of its own, started together with the others; the server keeps its data in SQLite or, where
PostgreSQL is at hand, there. A table to standard output. Afterwards everything that was written is looked for.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import flows  # noqa: F401 - quiet stores, before anything imports them
from flows.servers.processes import LOOPBACK, await_health, stop
from flows.servers.start import launch_mlflow
from simulator.errors import StoreError
from simulator.loop.run import open_run, play
from simulator.production.registry.database import DATABASE
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.production.registry.open import open_stores
from simulator.scenario.model import Scenario

__all__ = ["Load", "mlflow_server", "played_alone", "postgres", "put_under_load", "scenario", "what_is_missing"]


@dataclass(frozen=True, slots=True)
class Load:
    """What one load came to: committed periods of arms, calls to the server, wall seconds of the slowest run."""

    store: str
    runs: int
    periods: int
    calls: int
    seconds: float
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.store:<11} {self.runs:>4} {self.periods:>8} {self.seconds:>8.1f} "
            f"{self.periods / self.seconds:>10.2f} {self.calls / self.seconds:>8.1f}  "
            f"{'; '.join(self.missing) or 'nothing'}"
        )


def scenario(periods: int) -> Scenario:
    """Return a scenario that is hardly more than its store calls: an arm with its twin, a gate that refuses nothing."""
    return Scenario.model_validate(
        {
            "name": "load",
            "periods": periods,
            "device": "cpu",
            "source": {"use": "digits"},
            "stream": {"base": 200, "batch": 40, "validation": 60, "relearning": 10, "test": 60, "reuse": "recycle"},
            "attack": {"use": "patch", "target": 0, "size": 2},
            "campaign": {"use": "one-shot", "rate": 0.1},
            "recipe": {"base": {"epochs": 2, "batch": 32}, "update": {"epochs": 1, "batch": 32}},
            "trusted": {"images": 20, "from": 0},
            "gate": {"use": "accuracy", "tolerance": 0.9},
            "probes": [{"use": "attack-success"}],
        }
    )


def postgres() -> Any:
    """Return the module beside this one that makes PostgreSQL clusters."""
    if "postgres_cluster" not in sys.modules:
        found = spec_from_file_location("postgres_cluster", Path(__file__).with_name("postgres.py"))
        assert found is not None
        assert found.loader is not None
        sys.modules["postgres_cluster"] = module_from_spec(found)
        found.loader.exec_module(sys.modules["postgres_cluster"])
    return sys.modules["postgres_cluster"]


@contextmanager
def mlflow_server(workspace: Path, database: str | None = None) -> Iterator[str]:
    """Run an MLflow server over the workspace, on PostgreSQL when `database` is its address; yield its own address."""
    before = os.environ.pop(DATABASE, None)
    if database is not None:
        os.environ[DATABASE] = database
    try:
        server = launch_mlflow(workspace, _free_port())
        try:
            await_health(server, f"{server.address}/health")
            yield server.address
        finally:
            stop(server)
    finally:
        os.environ.pop(DATABASE, None)
        if before is not None:
            os.environ[DATABASE] = before


def put_under_load(address: str, store: str, runs: int, periods: int) -> Load:
    """Play `runs` runs at once against the server at `address`, then look for everything they wrote."""
    names = [f"load-{number}" for number in range(runs)]
    call = [sys.executable, __file__, "--periods", str(periods), "--play", address]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([*call, "--run", name], **pipes) for name in names]
    try:
        for child in children:
            assert child.stdout.readline() == "ready\n", f"a player ended with {child.wait()}"  # type: ignore[union-attr]
        answers = [json.loads(child.communicate("\n")[0]) for child in _started(children)]
    finally:
        for child in children:
            child.kill()
            child.wait()
    missing = [lack for name in names for lack in what_is_missing(address, name, periods)]
    calls, seconds = sum(answer["calls"] for answer in answers), max(answer["seconds"] for answer in answers)
    return Load(store, runs, runs * (periods + 1), calls, seconds, tuple(missing))


def what_is_missing(address: str, run: str, periods: int) -> list[str]:
    """Return what a run of `periods` should have written to the server at `address` and is not there as it should."""
    from mlflow import MlflowClient

    client = MlflowClient(address, registry_uri=address)
    _, ledger = open_stores(tracking_uri=address, workspace=Path("unused"))
    ledger.head(run)
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    lacks: list[str] = []
    for name, records in played_alone(periods, run).items():
        try:
            found = [entry.sha256 for entry in ledger.entries(records[0].record.lineage)]
            if found != [entry.sha256 for entry in records]:
                lacks.append(f"{run} {name}: {len(found)} records, not those of a run alone")
        except StoreError as error:  # the ledger itself sees that one is missing
            lacks.append(f"{run} {name}: {error}")
        versions = client.search_model_versions(f"name = 'ebbdoor.{run}.{name}'", max_results=10_000)
        wanted = sorted(entry.record.candidate for entry in records if entry.record.candidate is not None)
        if sorted(int(version.tags["ordinal"]) for version in versions) != wanted:
            lacks.append(f"{run} {name}: {len(versions)} versions of {len(wanted)}")
        (line,) = client.search_runs([experiment], f"tags.run = '{run}' and tags.line = '{name}'")
        steps = sorted(point.step for point in client.get_metric_history(line.info.run_id, "clean/accuracy"))
        if steps != list(range(periods + 1)):
            lacks.append(f"{run} {name}: {len(steps)} metric points of {periods + 1}")
    return lacks


def played_alone(periods: int, run: str) -> dict[str, list[Any]]:
    """Return the committed entries of the run when it is played by itself, in memory."""
    registry, ledger, wanted = MemoryRegistry(), MemoryLedger(), scenario(periods)
    return play(open_run(wanted, registry, ledger, run), wanted, registry, ledger, processes=0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _started(children: list[Any]) -> list[Any]:
    """Let all go at the same moment; a child waits for a line."""
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    return children


def _play(address: str, run: str, periods: int) -> None:
    """Be one of the runs: say that all is imported, wait for a line, play, and tell how it went."""
    calls = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal calls
        # a request is sent as one block of headers that begins with its method, and its body after that
        if event == "http.client.send" and bytes(arguments[1][:8]).split(b" ")[0] in _METHODS:
            calls += 1

    wanted = scenario(periods)
    registry, ledger = open_stores(tracking_uri=address, workspace=Path("unused"))
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    sys.addaudithook(count)
    began = time.perf_counter()
    ledger.hold(run)
    play(open_run(wanted, registry, ledger, run), wanted, registry, ledger, processes=0)
    registry.finish("finished", {})
    ledger.release()
    print(json.dumps({"seconds": time.perf_counter() - began, "calls": calls}))  # noqa: T201


_METHODS = {b"GET", b"POST", b"PATCH", b"PUT", b"DELETE"}


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--periods", type=int, default=20)
    parser.add_argument("--play", metavar="ADDRESS", help="be one of the runs against this server")
    parser.add_argument("--run", help="the name of that run")
    chosen = parser.parse_args()
    if chosen.play is not None:
        _play(chosen.play, chosen.run, chosen.periods)
        return
    print("store       runs  periods  seconds  periods/s  calls/s  missing")  # noqa: T201
    reason = postgres().why_impossible()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ebbdoor-load-")))
        with mlflow_server(folder / "sqlite") as address:
            print(put_under_load(address, "SQLite", chosen.runs, chosen.periods), flush=True)  # noqa: T201
        if reason:
            print(f"PostgreSQL was left out: {reason}")  # noqa: T201
            return
        database = stack.enter_context(postgres().cluster()).address("load")
        with mlflow_server(folder / "postgres", database) as address:
            print(put_under_load(address, "PostgreSQL", chosen.runs, chosen.periods), flush=True)  # noqa: T201


if __name__ == "__main__":
    _main()
