"""What a fresh interpreter has not imported: names of packages, which cost what no clock on a busy machine tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from simulator.records import Numerics
from simulator.system.worker import LINEAGES, Worker, prestarted_workers, start_worker

#: packages that take a tenth of a second or more, and modules of the library and of torch that draw many others in
HEAVY = {
    "alembic", "evidently", "importlib.metadata", "jinja2", "matplotlib", "mlflow", "nltk", "numpy", "pandas", "plotly",
    "prefect", "pydantic", "rich", "scipy", "sklearn", "sqlalchemy", "torch", "torch._dynamo", "torch._inductor",
    "torchvision", "urllib.request",
}  # fmt: skip

#: what stages and messages are made of
NUMERIC = {"importlib.metadata", "numpy", "pydantic", "torch", "urllib.request"}


def imported(code: str) -> set[str]:
    """Which of `HEAVY` a fresh interpreter holds after `code`."""
    script = f"{code}\nimport json, sys\nprint(json.dumps([name for name in {sorted(HEAVY)!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        pytest.param("import flows.cli", set(), id="every command line"),
        pytest.param("import flows.execute", {"importlib.metadata", "urllib.request"}, id="a run before its servers"),
        pytest.param("from simulator.system.worker import prestarted_workers", set(), id="starting workers"),
        pytest.param("import simulator.loop.run", NUMERIC, id="playing"),
        pytest.param("import simulator.loop.executors", NUMERIC, id="a worker"),
        pytest.param("from simulator.scenario.load import load_scenario; load_scenario('quickstart')",
                     {"importlib.metadata", "pydantic"}, id="reading a scenario"),
        pytest.param("import flows; import flows.simulate, flows.advance",
                     NUMERIC | {"prefect", "rich"}, id="the flows"),
    ],
)  # fmt: skip
def test_nothing_heavy_is_imported_early(code: str, allowed: set[str]) -> None:
    assert imported(code) - allowed == set()


def test_help_and_lists_do_without_what_plays() -> None:
    code = "import sys; from flows.cli import main\nfor command in (['--help'], ['run', '--help'], ['list']):\n"
    code += "    try: main(command)\n    except SystemExit: pass\nsys.stdout.flush()"
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    ).stderr
    loaded = {line.rpartition("|")[2].strip() for line in found.splitlines() if line.startswith("import time:")}
    assert "typer" in loaded
    assert loaded & HEAVY <= {"importlib.metadata", "pydantic", "rich"}


def test_a_worker_that_was_begun_early_is_the_one_that_is_used() -> None:
    with prestarted_workers(2, threads=1):
        first, other, third = start_worker(1), start_worker(2), start_worker(1)
        pids = {worker.pid for worker in (first, other, third)}
        try:
            assert len(pids) == 3
            assert first.call("start", {"threads": 1, "folder": None, "lasting": False}) == (None, {})
        finally:
            for worker in (first, other, third):
                worker.kill()


def taken_in_a_block_that_fails() -> Worker:
    try:
        with prestarted_workers(2, threads=1):
            taken = start_worker(1)
            raise ZeroDivisionError
    except ZeroDivisionError:
        return taken


def test_workers_that_nobody_took_end_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Worker] = []

    def noted(threads: int, numerics: Numerics) -> Worker:
        started.append(Worker(LINEAGES, environment=os.environ))
        return started[-1]

    monkeypatch.setattr("simulator.system.worker._new_worker", noted)
    taken = taken_in_a_block_that_fails()
    assert taken is started[0]
    assert len(started) == 2
    assert taken.exit_status(patience=0) is None
    assert started[1].exit_status(patience=0) == -9
    taken.kill()
