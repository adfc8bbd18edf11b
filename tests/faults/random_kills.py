"""Kill a process of a run at random with SIGKILL, go on with the run as a user would, and compare the records.

    python tests/faults/random_kills.py --kills 60 --seed 0

The process is the command itself, a worker of lineages, a process of the defenses, all at once, or all at once while
the first command of a workspace makes MLflow's tables. Prints a line a kill; exits with 1 if a run ended otherwise.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

sys.path.insert(0, str(Path(__file__).parent))

import fault_environment  # noqa: F401 - before torch and MLflow are imported
from fault_table import Table, say
from kill_scenario import digests, scenario_file, undisturbed

#: who is killed, and how its command line is recognised
WORKERS = {"line worker": "simulator.loop.executors:", "defense": "simulator.production.defending"}
TARGETS = ("parent", *WORKERS, "group", "first schema")

_TABLES = 65  # that MLflow's schema has
_TRIES = 5  # resumes of one run: each ends it, unless a defense's process is killed in it too


@dataclass(frozen=True)
class Kill:
    """One kill: of whom, and at which share of the undisturbed run's seconds, or of the schema's tables."""

    number: int
    target: str
    share: float


def choose(count: int, seed: int) -> list[Kill]:
    """Return `count` kills: every target in turn, the moment drawn."""
    draw = random.Random(seed)
    return [Kill(number, TARGETS[number % len(TARGETS)], draw.random()) for number in range(count)]


def command(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start `ebbdoor` in a session of its own, over the workspace in `folder`."""
    environment = {**os.environ, "EBBDOOR_WORKSPACE": str(folder / "runs")}
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        environment.pop(name, None)
    line = [sys.executable, "-m", "flows.cli", *words, "--no-prefect", "--display", "none"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(line, env=environment, stdout=log, stderr=log, start_new_session=True)


def start(folder: Path, scenario: Path) -> subprocess.Popen[bytes]:
    return command(folder, "run", str(scenario), "--out", str(folder / "run"))


def strike(kill: Kill, folder: Path, process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill the target at its moment; return whether it was there."""
    if kill.target == "first schema":
        _await_tables(folder / "runs", 1 + int(kill.share * _TABLES), process)
    else:
        time.sleep(kill.share * seconds)
    if process.poll() is not None:
        return False
    if kill.target in WORKERS:
        return _kill_worker(process, WORKERS[kill.target], kill.number)
    with suppress(ProcessLookupError):
        (os.kill if kill.target == "parent" else os.killpg)(process.pid, signal.SIGKILL)
    return True


def _await_tables(workspace: Path, wanted: int, process: subprocess.Popen[bytes]) -> None:
    seen = 0
    while process.poll() is None and seen < wanted and not (workspace / "mlflow.db").exists():
        with suppress(sqlite3.Error):
            address = f"file:{workspace / '.mlflow.db.part'}?mode=ro"
            with closing(sqlite3.connect(address, uri=True, timeout=0)) as connection:
                seen = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
        time.sleep(0.002)


def _kill_worker(process: subprocess.Popen[bytes], mark: str, number: int) -> bool:
    """Kill one of the worker processes of this kind, as soon as there is one: those of defenses come and go."""
    while process.poll() is None:
        with suppress(psutil.Error):
            family = psutil.Process(process.pid).children(recursive=True)
            found = [child for child in family if _is_called(child, mark)]
            if found:
                found[number % len(found)].kill()
                return True
        time.sleep(0.005)
    return False


def _is_called(child: psutil.Process, mark: str) -> bool:
    with suppress(psutil.Error):
        return any(mark in word for word in child.cmdline())
    return False


def end(folder: Path, scenario: Path, process: subprocess.Popen[bytes]) -> str:
    """Go on until the run is complete, and return what is wrong; an empty text when nothing is."""
    code = process.wait()
    for _ in range(_TRIES):
        if code == 0:
            return ""
        begun = (folder / "run" / "run.json").exists()
        process = command(folder, "resume", str(folder / "run")) if begun else start(folder, scenario)
        code = process.wait()
    return f"it ended with {code}: {(folder / 'log').read_text(errors='replace').strip()[-200:]}"


def found_in(folder: Path) -> dict[str, list[str]]:
    """The digests, by line, of the run in the folder."""
    from flows.runs.folder import find_run_folder

    place = find_run_folder(str(folder / "run"), folder / "runs")
    _, ledger = place.open_stores()
    return digests({key.name: ledger.entries(key) for key in ledger.head(place.run).lineages})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the harness and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="which moments")
    options = parser.parse_args(arguments)
    table, good = Table({"kill": 4, "of": 12, "at": 5, "hit": 4, "verdict": 40}), 0
    with TemporaryDirectory(prefix="ebbdoor-kills-") as name:
        scenario = scenario_file(Path(name), in_process=False)
        expected, seconds = undisturbed(scenario), 0.0
        for kill in [Kill(-1, "nobody", 0.0), *choose(options.kills, options.seed)]:
            folder = Path(name) / f"kill-{kill.number:03d}"
            folder.mkdir()
            began = time.monotonic()
            process = start(folder, scenario)
            hit = kill.target != "nobody" and strike(kill, folder, process, seconds)
            wrong = end(folder, scenario, process)
            seconds = seconds or time.monotonic() - began
            verdict = wrong or ("equal" if found_in(folder) == expected else "OTHER RECORDS")
            good += verdict == "equal"
            row = {"kill": kill.number, "of": kill.target, "at": f"{kill.share:.2f}", "hit": hit, "verdict": verdict}
            table.row(row)
    say(f"{good} of {options.kills + 1} runs ended as the undisturbed run (seed {options.seed})")
    return 0 if good == options.kills + 1 else 1


if __name__ == "__main__":
    sys.exit(main())
