"""A worker process that somebody stops does not hang its run without a word, and the run can be ended all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: plays a run in one worker process, as a command does, and prints the worker's process id after period 0
RUN = """
import psutil, sys
from simulator.loop.run import open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.scenario.overrides import scenario_of
from simulator.system.ending import ending_by_signal, exit_status

SCENARIO = {
    "name": "tiny",
    "periods": 400,
    "device": "cpu",
    "source": {"use": "digits"},
    "stream": {"base": 120, "batch": 20, "reuse": "recycle", "validation": 40, "relearning": 10, "test": 60},
    "trusted": {"images": 20},
    "probes": [],
    "attack": {"use": "none"},
    "campaign": {"use": "none"},
    "recipe": {"base": {"epochs": 1, "batch": 32}, "update": {"epochs": 1, "batch": 32}},
}

def listen(event):
    if event.kind == "period-committed" and event.period == 0:
        print(next(child.pid for child in psutil.Process().children() if "simulator.system.serving" in child.cmdline()))
        sys.stdout.flush()

scenario, registry, ledger = scenario_of(SCENARIO), MemoryRegistry(), MemoryLedger()
try:
    with ending_by_signal(command=True):
        play(open_run(scenario, registry, ledger, "run"), scenario, registry, ledger, processes=1, listen=listen)
except KeyboardInterrupt:
    sys.exit(exit_status(1))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_whose_worker_is_stopped_says_so_and_ends_by_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", RUN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as run:
        try:
            assert run.stdout is not None
            assert run.stderr is not None
            worker = int(run.stdout.readline())
            os.kill(worker, signal.SIGSTOP)
            said = run.stderr.readline()
            assert said.startswith(f"process {worker}, asked for stage '"), said
            assert "of 'main' in period" in said
            assert f"is stopped and waited for: let it go on with `kill -CONT {worker}`" in said
            run.send_signal(number)
            assert run.wait(timeout=60) == 128 + number
            with pytest.raises(ProcessLookupError):
                os.kill(worker, 0)
        finally:
            run.kill()
