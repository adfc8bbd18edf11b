"""Kill servers and workers under a run: each comes back, or is replaced, and the run ends as if nothing had been.

    python tests/faults/kill_servers.py

Prints a line a case. All servers listen on ports of their own on this machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import fault_environment  # noqa: F401 - before torch, Prefect and MLflow are imported
from fault_servers import Served, free_port, mlflow_server, prefect_server, python
from fault_table import Table, say
from kill_audit import audit
from kill_flows import called_running, flow_states, not_completed
from kill_play import exit_status, forked, in_child, last_line
from kill_scenario import copy_template, make_template, scenario_file, undisturbed

from flows.runs.folder import find_run_folder
from flows.servers.processes import Server, launch, stop

_ROOT = Path(__file__).parents[2]
_POOL = "ebbdoor-local"
_PATIENCE = 300.0  # seconds until a run has got somewhere, on a busy machine


@dataclass(frozen=True)
class Case:
    """`play` begins the run, kills something in its middle and returns the run's exit code, None where a worker plays.

    `exit` is the exit code it should have; a run that has not finished is gone on with.
    """

    name: str
    play: Callable[[Ground], int | None]
    exit: int | None
    through_mlflow: bool = False
    finishes: bool = True


@dataclass(frozen=True)
class Ground:
    """One case's workspace and servers."""

    workspace: Path
    scenario: Path
    prefect: Served
    mlflow: Served | None
    stack: ExitStack

    @property
    def environment(self) -> dict[str, str]:
        variables = {"EBBDOOR_WORKSPACE": str(self.workspace), "PREFECT_API_URL": self.prefect.address}
        home = {"PREFECT_HOME": str(self.workspace / "prefect-client"), "PWD": str(self.workspace)}
        through = {} if self.mlflow is None else {"MLFLOW_TRACKING_URI": self.mlflow.address}
        return {**os.environ, **variables, **home, **through}

    def ebbdoor(self, *arguments: str, **variables: str) -> int:
        """Run the command line to its end; what it says goes to the log."""
        done = python("-m", "flows.cli", *arguments, environment={**self.environment, **variables}, cwd=self.workspace)
        with self.log.open("a") as stream:
            stream.write(f"{done.stdout}{done.stderr}")
        return done.returncode

    @property
    def log(self) -> Path:
        return self.workspace.parent / "command.log"

    def begin(self, **variables: str) -> int:
        """Begin the run as a flow in a process of its own, which ends with the case at the latest; return its id."""
        command = ["run", str(self.scenario), "--processes", "0", "--display", "json"]
        environment = {**self.environment, **variables}

        def work() -> None:
            os.environ.update(environment)
            os.chdir(self.workspace)
            arguments = ["-m", "flows.cli", *command, "--out", str(self.workspace / "mine")]
            os.execve(sys.executable, [sys.executable, *arguments], {**os.environ, **environment})

        pid = forked(work, self.log)
        self.stack.callback(_end, pid)
        return pid

    def await_period(self, period: int) -> None:
        """Return once every line has committed `period`."""
        deadline = time.monotonic() + _PATIENCE
        while self._committed(period) < 2:
            if time.monotonic() > deadline:
                raise TimeoutError(f"period {period} was never committed")
            time.sleep(0.05)

    def _committed(self, period: int) -> int:
        query = "select count(*) from tags where key = ?"
        connection = sqlite3.connect(f"file:{self.workspace / 'mlflow.db'}?mode=ro", uri=True)
        try:
            return int(connection.execute(query, (f"period.{period:04d}",)).fetchone()[0])
        except sqlite3.OperationalError:  # just being written
            return 0
        finally:
            connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Play every case, print the table, and return the exit status."""
    options = _options(arguments)
    began = time.monotonic()
    folder = Path(mkdtemp(prefix="ebbdoor-servers-"))
    try:
        rows = _cases(folder, [case for case in CASES if options.only in case.name])
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    good = sum(row["verdict"] == "equal" for row in rows)
    say(
        f"{good} of {len(rows)} runs ended as the undisturbed run; "
        f"{time.monotonic() - began:.0f} s, load {os.getloadavg()[1]:.1f}"
    )
    return 0 if good == len(rows) else 1


def _cases(folder: Path, cases: Sequence[Case]) -> list[dict[str, Any]]:
    template, scenario = folder / "template", scenario_file(folder, in_process=True)
    in_child(lambda: str(make_template(template)), folder)
    expected = in_child(lambda: undisturbed(scenario), folder)
    table = Table({"killed": 52, "ended": 5, "s": 5, "flow runs": 34, "verdict": 30})
    rows = []
    for number, case in enumerate(cases):
        began = time.monotonic()
        try:
            row = _one(case, copy_template(template, folder / f"{number:02d}" / "runs"), scenario, expected)
        except Exception as error:  # noqa: BLE001 - one case must not end the others
            row = {"verdict": f"the harness failed: {error!r}"}
        rows.append({"killed": case.name, "s": f"{time.monotonic() - began:.0f}", **row})
        table.row(rows[-1])
    return rows


def _one(case: Case, workspace: Path, scenario: Path, expected: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    with ExitStack() as stack:
        servers = [prefect_server(workspace, free_port())]
        servers += [mlflow_server(workspace, free_port())] if case.through_mlflow else []
        for served in servers:
            stack.callback(served.stop)
            served.launch()
        ground = Ground(workspace, scenario, servers[0].ready(), servers[1].ready() if servers[1:] else None, stack)
        ended = case.play(ground)
        wrong = [] if ended == case.exit else [f"it ended with {ended} instead of {case.exit}: {last_line(ground.log)}"]
        if not case.finishes:
            wrong += _gone_on_with(ground)
        if ground.log.exists() and "Traceback" in ground.log.read_text():
            wrong.append("a traceback was printed")
        found, states = in_child(lambda: _findings(ground, expected), workspace.parent)
        wrong += found
        told = ", ".join(state for _, state in states)
        return {"ended": "-" if ended is None else ended, "flow runs": told, "verdict": "; ".join(wrong) or "equal"}


def _end(pid: int) -> None:
    """End a run that a case has left waiting."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _gone_on_with(ground: Ground) -> list[str]:
    folder = str(ground.workspace / "mine") if (ground.workspace / "mine").exists() else "mine"
    steps = (["reconcile"], ["resume", folder, "--processes", "0", "--display", "json"])
    return [
        f"{step[0]} ended with {code}: {last_line(ground.log)}" for step in steps if (code := ground.ebbdoor(*step))
    ]


def _findings(ground: Ground, expected: Mapping[str, Sequence[str]]) -> tuple[list[str], list[tuple[str, str]]]:
    os.environ.update({name: value for name, value in ground.environment.items() if name != "PWD"})
    place = find_run_folder("mine", ground.workspace)
    wrong = [sentence for _, sentence in audit(place, expected)]
    return [*wrong, *called_running(place), *not_completed(place)], flow_states(place)


# -- what is killed, and when it comes back ----------------------------------------------------------------------------


def _prefect_back(ground: Ground, *, after: float | None) -> int:
    """Kill the Prefect server; it is back `after` seconds, or after the last commit."""
    pid = ground.begin()
    ground.await_period(1)
    ground.prefect.kill()
    if after is None:
        ground.await_period(3)
    time.sleep(after or 3.0)
    ground.prefect.start()
    return exit_status(os.waitpid(pid, 0)[1])


def _mlflow_back(ground: Ground) -> int:
    assert ground.mlflow is not None
    pid = ground.begin()
    ground.await_period(1)
    ground.mlflow.kill()
    time.sleep(5.0)
    ground.mlflow.start()
    return exit_status(os.waitpid(pid, 0)[1])


def _mlflow_gone(ground: Ground) -> int:
    """Kill the MLflow server for longer than the run's patience."""
    assert ground.mlflow is not None
    pid = ground.begin(EBBDOOR_STORE_PATIENCE="6")
    ground.await_period(1)
    ground.mlflow.kill()
    status = exit_status(os.waitpid(pid, 0)[1])
    ground.mlflow.start()
    return status


def _worker(ground: Ground, how: int, *, with_run: bool) -> None:
    """End the worker, or it and the run it plays, and start another one."""
    _deploy(ground)
    worker = _start_worker(ground, "first")
    ground.stack.callback(stop, worker)
    parameters = {"scenario": str(ground.scenario), "run": "mine", "execution": '{"processes": 0}'}
    given = [part for name, value in parameters.items() for part in ("-p", f"{name}={value}")]
    _prefect(ground, "deployment", "run", "simulate/local", *given)
    ground.await_period(1)
    if with_run:
        os.killpg(worker.pid, how)
    else:
        os.kill(worker.pid, how)
    deadline = time.monotonic() + 60
    while _session(worker.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    stop(_start_worker(ground, "second"))


def _session(leader: int) -> list[str]:
    """The processes of the worker's session: itself, and the flow run it plays."""
    os.waitpid(-1, os.WNOHANG)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found.append(folder.name)
    return found


def _deploy(ground: Ground) -> None:
    shutil.copy(_ROOT / "prefect.yaml", ground.workspace)
    made = python("-m", "flows.servers.pools", "make", environment=ground.environment, cwd=ground.workspace)
    if made.returncode:
        raise RuntimeError(made.stderr)
    _prefect(ground, "--no-prompt", "deploy", "--name", "local")


def _prefect(ground: Ground, *arguments: str) -> None:
    done = python("-m", "prefect", *arguments, environment=ground.environment, cwd=ground.workspace)
    if done.returncode:
        raise RuntimeError(f"prefect {arguments}: {done.stdout}{done.stderr}")


def _start_worker(ground: Ground, name: str) -> Server:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", _POOL, "--type", "process", "--name", name]
    log = ground.workspace.parent / f"worker-{name}.log"
    return launch("worker", command, log, environment=ground.environment)


def _worker_ended(how: int, *, with_run: bool = False) -> Callable[[Ground], None]:
    return lambda ground: _worker(ground, how, with_run=with_run)


CASES = (
    Case("Prefect server, back after 5 s", lambda ground: _prefect_back(ground, after=5.0), 0),
    Case("Prefect server, back after the last commit", lambda ground: _prefect_back(ground, after=None), 0),
    Case("MLflow server, back after 5 s", _mlflow_back, 0, through_mlflow=True),
    Case("MLflow server, gone for longer than the patience", _mlflow_gone, 3, through_mlflow=True, finishes=False),
    Case("worker, SIGKILL", _worker_ended(signal.SIGKILL), None, finishes=False),
    Case("worker, SIGTERM", _worker_ended(signal.SIGTERM), None, finishes=False),
    Case("worker and its run, SIGKILL", _worker_ended(signal.SIGKILL, with_run=True), None, finishes=False),
)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases whose name holds this")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the runs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
