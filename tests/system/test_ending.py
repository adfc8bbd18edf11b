"""Signals end a command as Ctrl-C does, once; a second one ends it at once."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest

from simulator.system.ending import Ended, ending_by_signal, exit_status, in_command

#: a command that closes what is open when it is asked to end, and then says so
COMMAND = """
import sys, time
from simulator.system.ending import ending_by_signal, exit_status
try:
    with ending_by_signal(command=True):
        print("begun", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("closing", flush=True)
    {then}
    sys.exit(exit_status(1))
"""


def begin(then: str = "pass", *before: str) -> subprocess.Popen[str]:
    words = [*before, sys.executable, "-c", COMMAND.format(then=then)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_what_is_open_is_closed_and_the_status_names_the_signal(number: signal.Signals, status: int) -> None:
    process = begin()
    process.send_signal(number)
    process.send_signal(number)  # as `timeout` does: the same request
    assert process.communicate(timeout=60) == ("closing\n", "")
    assert process.returncode == status


def test_a_second_signal_ends_at_once() -> None:
    with begin(
        "from simulator.system import ending; ending._SAME_REQUEST = 0.0; print('on', flush=True); time.sleep(60)"
    ) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["closing\n", "on\n"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM


def test_under_nohup_a_hangup_is_still_ignored() -> None:
    with begin("pass", "nohup") as process:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143


def test_a_command_whose_terminal_is_closed_closes_what_is_open() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        words = [sys.executable, "-c", COMMAND.format(then="sys.stderr.write('to nobody\\n'); sys.stderr.flush()")]
        os.execv(sys.executable, words)
    assert b"begun" in os.read(terminal, 100)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129


def test_handlers_are_put_back_and_nothing_is_changed_without_a_signal() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with ending_by_signal(command=True):
        assert in_command()
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before
    assert not in_command()
    assert exit_status(2) == 2
    assert issubclass(Ended, KeyboardInterrupt)
