"""The protocol of worker processes: values and errors come back by request, and a worker ends with its parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from simulator.errors import ScenarioError, WorkerError
from simulator.system.messages import LOOK_SECONDS, Channel, ChannelClosed, ChannelTimeout
from simulator.system.worker import Worker, worker_environment

#: methods of a worker, one a case
METHODS = """
import os, sys, time
from contextlib import contextmanager
from simulator.errors import ScenarioError

def double(arguments, tensors):
    return {"sum": sum(arguments["numbers"])}, {name: 2 * value for name, value in tensors.items()}

def refuse(arguments, tensors):
    raise ScenarioError("expected better data, got these; give others")

def leave_child(arguments, tensors):
    child = os.fork()  # it inherits the socket
    if child == 0:
        time.sleep(60)
        os._exit(0)
    return child, {}

def fail(arguments, tensors):
    raise ZeroDivisionError("by nothing")

@contextmanager
def methods():
    yield {"double": double, "refuse": refuse, "fail": fail, "end": lambda arguments, tensors: os._exit(3),
           "leave_child": leave_child}
"""

#: a worker whose answer takes until a line comes in
WAITS = """
import sys
from simulator.system.serving import serve
serve(int(sys.argv[1]), {"wait": lambda arguments, tensors: (sys.stdin.readline(), {})})
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    (tmp_path / "served_methods.py").write_text(METHODS)
    monkeypatch.syspath_prepend(tmp_path)
    started = Worker("served_methods:methods", environment=worker_environment(os.environ, 1))
    yield started
    started.kill()


def test_values_and_tensors_come_back(worker: Worker) -> None:
    value, tensors = worker.call("double", {"numbers": [1, 2.5]}, {"x": torch.tensor([1.0, 2.0])})
    assert value == {"sum": 3.5}
    assert tensors["x"].tolist() == [2.0, 4.0]


def test_errors_are_raised_here_and_the_worker_goes_on(worker: Worker) -> None:
    with pytest.raises(ScenarioError, match=r"^expected better data, got these; give others$"):
        worker.call("refuse")
    with pytest.raises(WorkerError, match=r"^expected the test to work, got ZeroDivisionError: by nothing; cor"):
        worker.call("fail", asked="the test")
    with pytest.raises(WorkerError, match=r"expected method 'missing' of a worker to work, got KeyError"):
        worker.call("missing")
    assert worker.call("double", {"numbers": []}) == ({"sum": 0}, {})


def test_an_answer_can_be_fetched_later_and_no_other_is_taken_for_it(worker: Worker) -> None:
    first = worker.begin("double", {"numbers": [1]})
    second = worker.begin("double", {"numbers": [2]})
    assert worker.finish(first)[0] == {"sum": 1}
    with pytest.raises(WorkerError, match="expected the answer to request 3, got one to 2"):
        worker.finish(second + 1)


def test_a_worker_that_ended_or_is_late_is_told_apart(worker: Worker) -> None:
    number = worker.begin("end")
    with pytest.raises(ChannelClosed):
        worker.finish(number)
    assert worker.exit_status() == 3
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ChannelTimeout):
        Channel(ours).receive(timeout=0)


def test_a_worker_whose_parent_dies_while_it_is_at_work_ends_quietly() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        worker = subprocess.Popen(
            [sys.executable, "-c", WAITS, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    parent = Channel(ours)
    parent.send({"number": 1, "method": "wait", "arguments": {}, "asked": "the test"})
    parent.close()
    _, said = worker.communicate("go on\n", timeout=60)
    assert (worker.returncode, said) == (0, "")


def test_a_stopped_worker_is_named_and_waited_for(worker: Worker, capfd: pytest.CaptureFixture[str]) -> None:
    worker.call("double", {"numbers": []})
    os.kill(worker.pid, signal.SIGSTOP)
    timer = threading.Timer(3 * LOOK_SECONDS, lambda: os.kill(worker.pid, signal.SIGCONT))
    timer.start()
    try:
        # larger than any buffer of the socket: the worker is stopped before it has taken the request
        value, tensors = worker.call("double", {"numbers": [2]}, {"x": torch.ones(10**6)}, asked="the test")
    finally:
        timer.cancel()
    assert (value["sum"], float(tensors["x"].sum())) == (2, 2e6)
    said = capfd.readouterr().err
    assert f"process {worker.pid}, asked for the test, is stopped and waited for" in said
    assert f"`kill -CONT {worker.pid}`, or end it with `kill -KILL {worker.pid}`" in said
    assert said.count("is stopped") == 1


def test_a_stopped_worker_keeps_nobody_from_ending_it(worker: Worker) -> None:
    worker.call("double", {"numbers": []})
    os.kill(worker.pid, signal.SIGSTOP)
    threading.Timer(0.2, worker.kill).start()
    with pytest.raises(ChannelClosed):
        worker.call("double", {"numbers": []})
    assert worker.exit_status() == -signal.SIGKILL


def test_a_dead_worker_whose_socket_another_process_holds_is_noticed(worker: Worker) -> None:
    child, _ = worker.call("leave_child")
    try:
        with pytest.raises(ChannelClosed):
            worker.call("end")
        assert worker.exit_status() == 3
    finally:
        os.kill(child, signal.SIGKILL)
