"""Timelines on a real Ray: the records of this process, what a dead worker costs, and who can reach it."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from flows.studies.executors import executor_named
from simulator.errors import WorkerError
from simulator.production.training.device import has_avx2
from simulator.study.executors.processes import Processes
from simulator.study.expand import timelines_of
from simulator.study.load import study_of
from simulator.study.model import Study
from simulator.study.play import play_here, read_timeline
from simulator.system.instructions import played_with

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install ebbdoor[ray]"),
]

MORTAL = """
import os
from simulator.production.policy import Policy, PolicyView
from simulator.records import Decision


class Mortal(Policy):
    def __init__(self, *, dies: bool = False) -> None:
        self.dies = dies

    def decide(self, view: PolicyView) -> Decision:
        if self.dies:
            os._exit(9)
        return Decision(retrain=True, why="alive")
"""


def small(tiny_text: str, **values: object) -> Study:
    scenario = yaml.safe_load(tiny_text) | {"periods": 1, "arms": {"main": {}}}
    return study_of({"name": "small", "scenario": scenario, "seeds": [0, 1], **values})


def records(study: Study, folder: Path) -> dict[str, dict[str, list[str]]]:
    found = {each.name: read_timeline(folder, each) for each in timelines_of(study)}
    return {
        name: {line: [entry.sha256 for entry in entries] for line, entries in played.entries.items()}
        for name, played in found.items()
        if played is not None
    }


def test_ray_plays_the_records_of_this_process(workspace: Path, tiny_text: str) -> None:
    study = small(tiny_text)
    for timeline in timelines_of(study):
        play_here(timeline, workspace / "here", None)
    ends = list(executor_named("ray", 2).play(timelines_of(study), workspace / "there", workspace / "cache"))
    assert [end.error for end in ends] == [None, None]
    assert records(study, workspace / "there") == records(study, workspace / "here")
    assert len(records(study, workspace / "here")) == 2


@pytest.mark.skipif(not has_avx2(), reason="needs an x86-64 processor with AVX2")
def test_ray_plays_a_portable_timeline_as_a_process_of_its_own_does(workspace: Path, tiny_text: str) -> None:
    study = small(tiny_text, grid={"numerics": ["portable"]}, seeds=[0])
    for name, executor in (("here", Processes(1)), ("there", executor_named("ray", 1))):
        assert [end.error for end in executor.play(timelines_of(study), workspace / name, None)] == [None]
    assert records(study, workspace / "there") == records(study, workspace / "here")
    [timeline] = timelines_of(study)
    played = read_timeline(workspace / "there", timeline)
    assert played is not None
    assert {sets["kernels"] for sets in played_with(one.metadata for one in played.entries["main"])} == {"x86-64-v3"}


def test_a_worker_that_dies_costs_its_timeline_and_no_other(
    workspace: Path, tmp_path: Path, tiny_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mortal.py").write_text(MORTAL)
    monkeypatch.syspath_prepend(str(tmp_path))
    fates = [{"use": "mortal:Mortal"}, {"use": "mortal:Mortal", "dies": True}, {"use": "none-such"}]
    study = small(tiny_text, grid={"policy": fates}, seeds=[0])
    ends = {end.name: end.error for end in executor_named("ray", 1).play(timelines_of(study), workspace / "f", None)}
    assert ends["main-p0-s0"] is None
    assert isinstance(ends["main-p1-s0"], WorkerError)
    assert "got WorkerCrashedError" in str(ends["main-p1-s0"])
    assert "none-such" in str(ends["main-p2-s0"])  # told there, said here
    assert list(records(study, workspace / "f")) == ["main-p0-s0"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's table of sockets")
def test_ray_listens_on_loopback_alone_and_tells_nobody(workspace: Path, tiny_text: str) -> None:
    before = listening()
    playing = executor_named("ray", 1).play(timelines_of(small(tiny_text)), workspace / "f", None)
    next(playing)
    during = listening() - before
    playing.close()
    assert during
    assert {address for address, _ in during if not address.is_loopback} == set()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def listening() -> set[tuple[IPv4Address, int]]:
    """Every address and port that something on this machine listens on."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            address, state = row.split()[1], row.split()[3]
            if state == "0A":
                place, _, port = address.partition(":")
                found.add((IPv4Address(bytes.fromhex(place)[-4:][::-1]), int(port, 16)))
    return found
