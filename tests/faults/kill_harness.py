"""Kill a run at many points with SIGKILL, go on with it, and compare it with a run that nobody disturbed.

    python tests/faults/kill_harness.py --points 64 --seed 0 --processes 2

Every point has stores of its own: SQLite, or an MLflow server's. Prints a line a point and exits with 1 if any run did
not end as the undisturbed one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import fault_environment  # noqa: F401 - before torch, Prefect and MLflow are imported
from fault_servers import Served, free_port, mlflow_server, prefect_server
from fault_table import Table, say
from kill_audit import ASPECTS, audit
from kill_flows import called_running, not_completed, reconcile
from kill_play import Job, exit_status, forked, go_on, in_child, last_line, leave_nothing, play_until_killed, preload
from kill_points import Execution, Point, choose
from kill_scenario import LINES, copy_template, make_template, scenario_file, undisturbed
from kill_trace import read_marks

from flows.runs.folder import RunFolder

_LAST = 3  # the scenario's last period


@dataclass(frozen=True)
class Bench:
    """What all points share: a folder, the scenarios, what they must end with, and the servers."""

    folder: Path
    template: Path
    expected: dict[str, dict[str, list[str]]]
    servers: dict[str, Served]

    def job(self, point: Point) -> Job:
        return _job(self.folder, self.template, self.servers, f"kill-{point.number:03d}", point.execution)


def _job(folder: Path, template: Path, servers: Mapping[str, Served], name: str, execution: Execution) -> Job:
    """A run with a workspace of its own; through a server it shares that server's stores with others."""
    workspace = copy_template(template, folder / name / "runs")
    address = servers["mlflow"].address if execution == "server" else None
    place = RunFolder(name, workspace / name, workspace, address)
    return Job(place, folder / f"{_variant(execution)}.yaml", execution, workspace.parent)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the harness and return its exit status."""
    options = _options(arguments)
    began = time.monotonic()
    folder = Path(mkdtemp(prefix="ebbdoor-kills-"))
    try:
        with ExitStack() as stack:
            ended = _all_points(folder, options, stack)
    finally:
        if options.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    good = sum(row["verdict"] == "equal" for row in ended)
    kinds = ", ".join(f"{count} {name}" for name, count in sorted(Counter(row["as"] for row in ended).items()))
    say(
        f"{good} of {len(ended)} killed runs ended as the undisturbed run (seed {options.seed}; {kinds}); "
        f"{time.monotonic() - began:.0f} s, load {os.getloadavg()[1]:.1f}"
    )
    return 0 if good == len(ended) == (options.points if options.only is None else 1) else 1


def _all_points(folder: Path, options: argparse.Namespace, stack: ExitStack) -> list[dict[str, Any]]:
    """Prepare, kill at every point, and return the rows of the table."""
    template = folder / "template"
    in_child(lambda: str(make_template(template)), folder)
    servers = _servers(folder, template, stack)
    for variant in ("beside", "workers"):
        scenario_file(folder, in_process=variant == "beside")
    undisturbed_job = _job(folder, template, {}, "undisturbed", "alone")
    preload(["flows.advance", "flows.simulate", *in_child(lambda: _modules(undisturbed_job), folder)])
    expected = {variant: _expected(folder, variant) for variant in ("beside", "workers")}
    if findings := in_child(lambda: audit(undisturbed_job.place, expected["beside"]), folder):
        raise SystemExit(f"the undisturbed run is not as it should be: {findings}")
    bench = Bench(folder, template, expected, {name: served.ready() for name, served in servers.items()})
    points = choose(read_marks(undisturbed_job.notes / "marks.jsonl"), options.points, options.seed)
    return _table(bench, [point for point in points if options.only in (None, point.number)], options.processes)


def _table(bench: Bench, points: Sequence[Point], lanes: int) -> list[dict[str, Any]]:
    columns = {"point": 5, "kind": 6, "where": 58, "as": 7, "after s": 7, "from": 4}
    table = Table({**columns, **dict.fromkeys(ASPECTS, 8), "verdict": 40})
    rows = []
    for row in _in_lanes(points, lambda point: _one(bench, point), lanes):
        rows.append(row)
        table.row(row)
    return rows


def _modules(job: Job) -> list[str]:
    """Play an undisturbed run in real stores, leaving its marks, and return what it imported."""
    play_until_killed(job, None)
    return sorted(sys.modules)


def _servers(folder: Path, template: Path, stack: ExitStack) -> dict[str, Served]:
    found = {
        "mlflow": mlflow_server(copy_template(template, folder / "mlflow"), free_port()),
        "prefect": prefect_server(copy_template(template, folder / "prefect"), free_port()),
    }
    for served in found.values():
        stack.callback(served.stop)
        served.launch()
    os.environ["PREFECT_API_URL"] = found["prefect"].address
    os.environ["PREFECT_HOME"] = str(folder / "prefect" / "client")
    return found


def _one(bench: Bench, point: Point) -> dict[str, Any]:
    """Kill one run, go on with it, and say how it ended."""
    job = bench.job(point)
    log = job.notes / "log"
    row = {"point": point.number, "kind": point.kind, "where": point.where, "as": point.execution}
    pid = forked(lambda: play_until_killed(job, point.trigger), log)
    began = time.monotonic()
    _, status = os.waitpid(pid, 0)
    row["after s"] = f"{time.monotonic() - began:.1f}"
    if exit_status(status) != -signal.SIGKILL:
        return {**row, "verdict": f"it ended by itself, with status {exit_status(status)}: {last_line(log)}"}
    if left := leave_nothing(pid):
        return {**row, "verdict": f"still running: {left}"}
    before = _reconciled(job) if point.execution == "flow" and (point.number // 8) % 2 else []
    _, status = os.waitpid(forked(lambda: go_on(job), log), 0)
    if status:
        return {**row, "verdict": f"the resume ended with status {exit_status(status)}: {last_line(log)}"}
    return {**row, **_judged(bench, job, before)}


def _reconciled(job: Job) -> list[list[str]]:
    """Reconcile what a killed process has left, and return what is still called running afterwards."""
    status = os.waitpid(forked(lambda: reconcile(job.place.workspace), job.notes / "log"), 0)[1]
    wrong = [f"reconcile ended with status {exit_status(status)}"] if status else []
    return [["closed", sentence] for sentence in [*wrong, *in_child(lambda: called_running(job.place), job.notes)]]


def _judged(bench: Bench, job: Job, before: Sequence[list[str]]) -> dict[str, Any]:
    """What is wrong with a run that was gone on with, beside what was wrong before."""
    done = json.loads((job.notes / "done.json").read_text())
    start = min((done.get(line, 0) for line in LINES), default=0)
    findings: list[list[str]] = in_child(lambda: audit(job.place, bench.expected[_variant(job.execution)]), job.notes)
    findings += [["once", sentence] for sentence in _played_again(job, start)]
    if job.execution == "flow":
        findings += [*before, *_reconciled(job)]
        findings += [["closed", sentence] for sentence in in_child(lambda: not_completed(job.place), job.notes)]
    wrong = {aspect for aspect, _ in findings}
    cells = {aspect: "WRONG" if aspect in wrong else "ok" for aspect in ASPECTS}
    return {"from": start, **cells, "verdict": "; ".join(sentence for _, sentence in findings) or "equal"}


def _played_again(job: Job, start: int) -> Iterator[str]:
    """What the resumed process played: each period that was left, once."""
    marks = read_marks(job.notes / "again.jsonl")
    for line in LINES:
        wanted = [f"commit of {line}, period {period}" for period in range(start, _LAST + 1)]
        found = [mark.what for mark in marks if mark.what.startswith(f"commit of {line},") and mark.edge == "after"]
        if found != wanted:
            yield f"it played {found} instead of {wanted}"


def _expected(folder: Path, variant: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = in_child(lambda: undisturbed(folder / f"{variant}.yaml"), folder)
    return found


def _in_lanes(points: Sequence[Point], work: Callable[[Point], dict[str, Any]], lanes: int) -> Iterator[dict[str, Any]]:
    """Yield the row of every point, worked on in `lanes` processes at a time."""
    context = multiprocessing.get_context("fork")
    todo, done = context.SimpleQueue(), context.SimpleQueue()
    for number in [*range(len(points)), *[None] * lanes]:
        todo.put(number)
    processes = [context.Process(target=_lane, args=(points, work, todo, done)) for _ in range(lanes)]
    for process in processes:
        process.start()
    for _ in points:
        yield done.get()
    for process in processes:
        process.join()


def _lane(points: Sequence[Point], work: Callable[[Point], dict[str, Any]], todo: Any, done: Any) -> None:
    while (number := todo.get()) is not None:
        point = points[number]
        try:
            done.put(work(point))
        except Exception as error:  # noqa: BLE001 - one point must not end the others
            done.put({"point": point.number, "where": point.where, "as": point.execution, "verdict": repr(error)})


def _variant(execution: str) -> str:
    return "workers" if execution == "workers" else "beside"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=64, help="how many kills")
    parser.add_argument("--seed", type=int, default=0, help="which periods and moments")
    parser.add_argument("--only", type=int, metavar="POINT", help="only this one of the points")
    parser.add_argument("--processes", type=int, default=2, help="how many runs at a time")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the killed runs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
