"""`ebbdoor study` stopped in the middle, in both ways, and given again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from simulator.study.load import load_study
from simulator.study.run import read_played
from simulator.study.tables import read_table
from simulator.study.timelines import PlayedTimeline

pytestmark = pytest.mark.slow

Start = Callable[[str], "subprocess.Popen[str]"]


# Waits where a timeline builds its model, once a timeline of the folder named in the file `hold` is complete.
HELD_NETWORK = """
import time
from pathlib import Path
from torch import nn

def network(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    hold = Path("hold")
    while hold.exists() and any(Path(hold.read_text()).glob("timelines/*/beside.json")):
        time.sleep(0.01)
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))
"""


@pytest.fixture
def study_file(tmp_path: Path, tiny_values: dict[str, Any]) -> Path:
    """A study of eight timelines, which does not get beyond those in work while the file `hold` is there."""
    (tmp_path / "held.py").write_text(HELD_NETWORK)
    scenario = tiny_values["scenario"]
    recipe = scenario["recipe"] | {"network": {"use": "held:network"}}
    values = tiny_values | {"scenario": scenario | {"recipe": recipe}, "seeds": [0, 1, 2, 3]}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


@pytest.fixture
def start(tmp_path: Path, study_file: Path) -> Start:
    """Start the study into a folder, in a process group of its own."""

    def begin(folder: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "flows.cli", "study", str(study_file), "--out", folder]
        return subprocess.Popen(
            [*command, "--no-prefect", "--workers", "2", "--format", "json"],
            cwd=tmp_path,
            env=os.environ | {"EBBDOOR_WORKSPACE": str(tmp_path / folder / "runs")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return begin


def complete(folder: Path) -> list[Path]:
    return sorted(folder.glob("timelines/*/beside.json"))


def await_some(folder: Path, process: subprocess.Popen[str]) -> None:
    while not complete(folder):
        assert process.poll() is None
        time.sleep(0.01)


def finished(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    out, told = process.communicate(timeout=240)
    assert process.returncode == 0, told
    return json.loads(out), told


def digests(played: list[PlayedTimeline]) -> list[dict[str, list[str]]]:
    return [{line: [entry.sha256 for entry in entries] for line, entries in one.entries.items()} for one in played]


def tables(folder: Path) -> list[list[dict[str, Any]]]:
    rows = [read_table(folder, name) for name in ("timelines", "periods")]
    return [[{key: value for key, value in row.items() if key != "seconds"} for row in table] for table in rows]


def test_killed_and_given_again_a_study_comes_to_the_same(start: Start, study_file: Path, tmp_path: Path) -> None:
    whole, _ = finished(start("whole"))
    hold = tmp_path / "hold"
    hold.write_text("killed")
    process = start("killed")
    await_some(tmp_path / "killed", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    hold.unlink()
    found = len(complete(tmp_path / "killed"))
    assert 0 < found < 8
    results, told = finished(start("killed"))
    assert f"computed {8 - found} of 8 timelines, found {found}" in told
    assert re.search(rf"computed {7 - found} of 8 \({found} found\), about \d+ \w+ left", told)
    assert results | {"folder": ""} == whole | {"folder": ""}
    study = load_study(str(study_file))
    assert digests(read_played(study, tmp_path / "killed")) == digests(read_played(study, tmp_path / "whole"))
    assert tables(tmp_path / "killed") == tables(tmp_path / "whole")


def test_control_c_keeps_what_is_complete(start: Start, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.write_text("stopped")
    process = start("stopped")
    await_some(tmp_path / "stopped", process)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    hold.unlink()
    assert process.returncode == 130
    safe = re.search(r"Stopped. (\d) of 8 timelines are complete in stopped, and safe. Go on with:\n  (.*)\n", told)
    assert safe is not None, told
    assert safe[2].startswith("ebbdoor study ")
    assert "Traceback" not in told
    found = len(complete(tmp_path / "stopped"))
    assert 0 < found < 8
    assert int(safe[1]) <= found  # a timeline may be complete on disk before it is told
    _, told = finished(start("stopped"))
    assert f"computed {8 - found} of 8 timelines, found {found}" in told


def test_workers_end_with_a_command_that_is_killed_alone(start: Start, tmp_path: Path) -> None:
    (tmp_path / "hold").write_text("alone")
    process = start("alone")
    await_some(tmp_path / "alone", process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and members(process.pid):
        time.sleep(0.1)
    assert members(process.pid) == []


def members(session: int) -> list[int]:
    """Return the processes of a session; only Linux tells."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, _, leader = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(leader) == session and state not in "ZX":
                found.append(int(folder.name))
    return found
