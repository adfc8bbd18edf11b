"""A defense whose every call ends the process from which calls are forked: it is asked three times and has failed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import torch

from simulator.batch import Batch
from simulator.errors import PluginError, WorkerError
from simulator.production.defending import host, runner
from simulator.production.defending.driver import Defenders
from simulator.production.defending.job import Job
from simulator.production.defending.runner import ATTEMPTS, InProcesses, Limits
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use
from simulator.tensors import ModelVersion

ARCHITECTURE = {"network": {"use": "standard-cnn"}, "channels": 1, "size": [8, 8], "classes": 2}
ROWS = Batch(torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2, torch.arange(8))
#: ends its parent, which is the host, and notes how often; where a call is confined the system does not let it
KILLER = """
import os, signal, time
import torch
from defenses.base import Filter, FilterResult

def end_host():
    with open("{folder}/asked", "a") as file:
        file.write("x")
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)

class KillsHost(Filter):
    def filter(self, context):
        end_host()

class KillsHostAtOnce(Filter):
    def __init__(self):
        end_host()

    def filter(self, context):
        raise AssertionError

class Honest(Filter):
    def filter(self, context):
        return FilterResult(torch.ones(len(context.window), dtype=torch.bool))
"""
UNCONFINED = Limits(60.0, confined=False)
#: a host that ends when it is asked for anything but to get ready, and needs no torch for that
ENDS = """
import json, os, socket, sys
from simulator.system.messages import Channel

channel = Channel(socket.socket(fileno=int(sys.argv[2])))
while True:
    request = json.loads(channel.receive_bytes()[0])
    if request["method"] != "prepare":
        with open("asked", "a") as file:
            file.write("x")
        os._exit(7)
    answer = json.dumps({"number": request["number"], "value": None})
    channel.send_bytes(answer.encode(), (2).to_bytes(8, "little") + b"{}")  # no tensors
"""


def test_a_host_that_ends_at_every_call_is_replaced_twice(
    user_file: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_file("user_host.py", ENDS)
    monkeypatch.setattr(runner, "_HOST", "user_host")
    job = Job(
        name="mine", use="none", options={}, surface="filter", subject="champion", architecture=ARCHITECTURE,
        device="cpu", period=1, seed=0,
    )  # fmt: skip
    with closing(InProcesses((), UNCONFINED, threads=1)) as asked:
        run = asked.run(job, {})
        with pytest.raises(PluginError, match=r"got that its process was lost 3 times; correct it$"):
            asked.facts("user_other:Mine", {})
    assert (run.outcome.status, run.outcome.reason) == ("failed", "its process was lost 3 times")
    assert asked.notes == {"mine": {"asked_again": 2}, "user_other:Mine": {"asked_again": 2}}
    assert (tmp_path / "asked").read_text() == "xxxxxx"


@pytest.mark.slow
def test_a_host_that_is_lost_at_every_call_is_asked_three_times_and_the_defense_has_failed(
    user_file: Callable[[str, str], None], tmp_path: Path
) -> None:
    user_file("user_killer.py", KILLER.format(folder=tmp_path))
    uses = tuple(Use(use=f"user_killer:{name}") for name in ("KillsHost", "Honest"))
    model = ModelVersion(build_network(Use(use="standard-cnn"), channels=1, size=(8, 8), classes=2, seed=0))
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    made = Defenders(
        uses,
        architecture=ARCHITECTURE,
        device=torch.device("cpu"),
        limits=UNCONFINED,
        in_process=False,
        threads=1,
        seed=0,
    )
    with closing(made):
        run = made.filter(model, ROWS, ROWS, period=1, subject="champion")
        notes = made.notes
    lost, honest = run.outcomes
    assert (lost.status, lost.reason) == ("failed", "its process was lost 3 times")
    assert honest.status == "passed"
    assert run.keep.all()
    assert notes["user_killer:KillsHost"]["asked_again"] == ATTEMPTS - 1 == 2
    assert "asked_again" not in notes["user_killer:Honest"]
    assert (tmp_path / "asked").read_text() == "xxx"
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


@pytest.mark.slow
def test_one_whose_constructor_does_so_is_refused_in_a_sentence(
    user_file: Callable[[str, str], None], tmp_path: Path
) -> None:
    user_file("user_killer.py", KILLER.format(folder=tmp_path))
    words = r"^defense 'user_killer:KillsHostAtOnce': expected its import and constructor to work, got that its process"
    with (
        closing(InProcesses((), UNCONFINED, threads=1)) as asked,
        pytest.raises(PluginError, match=f"{words} was lost 3 times; correct it$"),
    ):
        asked.facts("user_killer:KillsHostAtOnce", {})
    assert (tmp_path / "asked").read_text() == "xxx"


def test_a_fault_in_making_ready_is_no_verdict_on_a_defense() -> None:
    with pytest.raises(WorkerError, match="expected a call of a defense to be made ready, got KeyError: 'confine'"):
        host._made_ready("run", {})
