"""A child process whose answer is waited for: one that computes nothing is told, one whose children compute is not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from simulator.system import liveness
from simulator.system.liveness import Liveness


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def told_while(program: str, seconds: int) -> list[str]:
    """What is said of a program, looked at every half minute of a made-up clock, for so many seconds."""
    clock, said = Clock(), list[str]()
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            watch = Liveness(process, said.append, clock)
            watch.expect("stage 'train'")
            for now in range(0, seconds + 1, 30):
                clock.now = now
                watch.look()
                if "while" in program:
                    process.stdout.readline()
        finally:
            process.kill()
    return [sentence.replace(str(process.pid), "PID") for sentence in said]


def test_a_worker_that_computes_nothing_for_ten_minutes_is_told_once() -> None:
    sleeps = "import time; print(flush=True); time.sleep(600)"
    # the first look after half a minute is what the next are compared with
    assert told_while(sleeps, 600) == []
    assert told_while(sleeps, 1500) == [
        "process PID, asked for stage 'train', has computed nothing for 600 seconds and is waited for: "
        "look at what it does, or end it with `kill -KILL PID`"
    ]


def test_a_worker_whose_child_computes_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "_IDLE_CPU", 0.05)
    busy = (
        "import time; end = time.process_time\nwhile True:\n    began = end()\n    while end() - began < 0.06: pass\n"
    )
    busy += "    print(flush=True)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])  # while"
    assert told_while(outer, 900) == []
