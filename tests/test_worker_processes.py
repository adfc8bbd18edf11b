"""The protocol of worker processes: values and errors come back by request, and a worker ends with its parent."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from simulator.errors import ScenarioError, WorkerError
from simulator.system.messages import Channel, ChannelClosed, ChannelTimeout
from simulator.system.worker import Worker, worker_environment

#: methods of a worker, one a case
METHODS = """
import os, sys
from contextlib import contextmanager
from simulator.errors import ScenarioError

def double(arguments, tensors):
    return {"sum": sum(arguments["numbers"])}, {name: 2 * value for name, value in tensors.items()}

def refuse(arguments, tensors):
    raise ScenarioError("expected better data, got these; give others")

def fail(arguments, tensors):
    raise ZeroDivisionError("by nothing")

@contextmanager
def methods():
    yield {"double": double, "refuse": refuse, "fail": fail, "end": lambda arguments, tensors: os._exit(3)}
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
