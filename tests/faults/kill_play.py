"""What a process of the harness does with a run: play it until it is killed, go on with it, look at it."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kill_points import Execution
from kill_scenario import values_of
from kill_trace import Tracer, Trigger

from flows.runs.folder import RunFolder, noted

__all__ = [
    "Job",
    "exit_status",
    "forked",
    "go_on",
    "in_child",
    "last_line",
    "leave_nothing",
    "play_until_killed",
    "preload",
]


@dataclass(frozen=True)
class Job:
    """A run to disturb: its place, its scenario, how it is executed, the folder of logs and traces."""

    place: RunFolder
    scenario: Path
    execution: Execution
    notes: Path

    @property
    def processes(self) -> int:
        return 2 if self.execution == "workers" else 0


def forked(work: Callable[[], Any], log: Path) -> int:
    """Do `work` in a forked process with a session and a log of its own; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        with log.open("ab", buffering=0) as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        work()
        status = 0
    except SystemExit as ended:  # a command that has said why
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - told in the log, and by the exit status
        traceback.print_exc()
        sys.stderr.write(f"{error}".replace("\n", " ") + "\n")  # the last line of the log
        status = getattr(error, "exit_code", 1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def in_child(work: Callable[[], Any], notes: Path) -> Any:
    """Return the JSON value of `work`, done in a forked process: what it opens and imports is not inherited."""
    answer = notes / "answer.json"
    answer.unlink(missing_ok=True)
    pid = forked(lambda: answer.write_text(json.dumps(work(), default=str)), notes / "log")
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError(f"expected an answer, got: {last_line(notes / 'log')}")
    return json.loads(answer.read_text())


def preload(modules: Sequence[str]) -> None:
    """Import once what every forked process will need; it saves each of them up to ten seconds."""
    for name in modules:
        with suppress(Exception):  # some are found only by the way their package imports them
            importlib.import_module(name)


def exit_status(word: int) -> int:
    """Return a process's exit status from what `waitpid` says of it, negative for a signal."""
    return os.waitstatus_to_exitcode(word)


def last_line(log: Path) -> str:
    """Return the end of a log in one line."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:400] if lines else ""


def play_until_killed(job: Job, trigger: Trigger | None) -> None:
    """Play the run from its beginning; the trigger kills this process."""
    tracer = Tracer(job.notes / "marks.jsonl", trigger)
    _play(job, tracer)


def go_on(job: Job) -> None:
    """Go on with the run as a user would: from the ledger alone where its folder knows it, else by starting it."""
    (job.notes / "done.json").write_text(json.dumps(_committed(job)))
    _play(job, Tracer(job.notes / "again.jsonl"))


def _committed(job: Job) -> dict[str, int]:
    """How many periods of each line are committed."""
    from simulator.errors import StoreError
    from simulator.production.registry.open import open_stores

    _, ledger = open_stores(tracking_uri=job.place.tracking_uri, workspace=job.place.workspace)
    try:
        head = ledger.head(job.place.run)
    except StoreError:  # killed before it was begun
        return {}
    return {key.name: len(ledger.entries(key)) for key in head.lineages}


def _play(job: Job, tracer: Tracer) -> None:
    os.environ["EBBDOOR_WORKSPACE"] = str(job.place.workspace)
    if job.place.tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = job.place.tracking_uri
    tracer.watch_client()
    if job.execution == "flow":
        _play_flow(job, tracer)
    else:
        _play_loop(job, tracer)


def _play_loop(job: Job, tracer: Tracer) -> None:
    from flows.runs.play import open_place, play_place
    from simulator.loop.events import ignore

    with open_place(job.place, None if noted(job.place) else values_of(job.scenario)) as stores:
        play_place(job.place, stores, wrap=tracer.wrap, listen=ignore, processes=job.processes)


def _play_flow(job: Job, tracer: Tracer) -> None:
    import flows.simulate as simulate
    from flows.advance import advance

    plain = simulate.as_task
    simulate.as_task = lambda name, function: plain(name, tracer.wrap(name, function))  # type: ignore[assignment]
    execution = simulate.Execution(processes=job.processes)
    if noted(job.place):
        advance(run=str(job.place.folder), periods=None, execution=execution)
    else:
        simulate.simulate(scenario=str(job.scenario), run=job.place.run, out=str(job.place.folder), execution=execution)


def leave_nothing(session: int, patience: float = 60.0) -> list[str]:
    """Return the commands of a session that still run after `patience` seconds: workers end with their parent."""
    deadline = time.monotonic() + patience
    while (left := _members(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _members(session: int) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it ended while we looked
            continue
    return found
