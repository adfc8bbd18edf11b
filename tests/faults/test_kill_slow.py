"""Slices of the fault harnesses; all of them: `make faults`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent


def ends_well(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, HERE / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_runs_killed_at_eight_points_go_on_as_if_nothing_had_been() -> None:
    told = ends_well("kill_harness.py", "--points", "8", "--seed", "1")
    assert "8 of 8 killed runs ended as the undisturbed run (seed 1; 4 alone, 1 flow, 2 server, 1 workers)" in told


def test_of_two_at_once_one_wins() -> None:
    assert "one winner each, and the run is the undisturbed one" in ends_well("two_at_once.py", "--rounds", "3")


@pytest.mark.parametrize("fault", ["database locked", "MLflow away for ever", "clock set back by a day, then killed"])
def test_what_a_run_needs_is_taken_away(fault: str) -> None:
    assert " 0 skipped" in ends_well("resource_faults.py", "--only", fault)


def test_the_disk_is_full_where_a_disk_can_be_mounted() -> None:
    ends_well("resource_faults.py", "--only", "disk full")


@pytest.mark.parametrize("killed", ["MLflow server, back after 5 s", "worker, SIGTERM"])
def test_a_server_or_a_worker_is_killed(killed: str) -> None:
    assert "1 of 1 runs" in ends_well("kill_servers.py", "--only", killed)
