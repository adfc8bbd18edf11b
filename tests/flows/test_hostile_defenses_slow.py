"""Hostile defenses in a whole run with its servers: nothing is left, and all else is as in an undisturbed run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

HOSTILE = Path(__file__).parents[1] / "production"
KINDS = (
    "Forks", "ForksAndWaits", "Daemonises", "Freezes", "LeavesThreads", "Leaks", "Moves", "KillsItself",
    "ClosesEverything", "WritesEverywhere", "HugeEvidence", "LoneSurrogate", "RaisesSurrogate", "Hangs",
)  # fmt: skip
SCENARIO = """
name: hostile
periods: 1
source: {use: digits, test_share: 0.4}
stream: {base: 240, batch: 80, validation: 100, relearning: 20, test: 200}
recipe: {base: {epochs: 2, batch: 32}, update: {epochs: 1, batch: 32}}
trusted: {images: 20}
defense_seconds: 15
probes: [{use: attack-success}]
gate: {use: accuracy}
"""


def play(folder: Path, name: str, defenses: list[str], *options: str) -> list[dict[str, Any]]:
    """Play the scenario with `defenses` and return the rows of its periods."""
    given = json.dumps([{"use": f"hostile_defenses:{one}"} for one in defenses])
    (folder / "s.yaml").write_text(f"{SCENARIO}defenses: {given}\n")
    environment = {**os.environ, "EBBDOOR_WORKSPACE": str(folder / "ws"), "PYTHONPATH": str(HOSTILE)}
    command = [sys.executable, "-m", "flows.cli", "run", "s.yaml", "--display", "none", "--out", name, *options]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in (folder / name / "periods.jsonl").read_text().splitlines()]


def started_here(folder: Path) -> list[str]:
    """The command lines of what still runs in the folder, or is one of the programs that the hostile ones start."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline() == ["sleep", "43219"] or process.environ().get("EBBDOOR_WORKSPACE") == str(
                folder / "ws"
            ):
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_hostile_defenses_change_nothing_but_their_outcomes_and_leave_nothing(tmp_path: Path) -> None:
    quiet = play(tmp_path, "quiet", ["Honest"], "--no-prefect")
    among = play(tmp_path, "among", [*KINDS, "Honest"])
    for one, other in zip(quiet, among, strict=True):
        assert one["outcomes"] == other["outcomes"][-1:]
        same = [
            key for key in one if key.startswith(("clean/", "backdoor/", "weights/")) or key in ("version", "action")
        ]
        assert len(same) > 2
        assert {key: one[key] for key in same} == {key: other[key] for key in same}
        statuses = {outcome["name"].partition(":")[2]: outcome["status"] for outcome in other["outcomes"]}
        assert statuses["Hangs"] == "timeout"
        assert statuses["KillsItself"] == statuses["LoneSurrogate"] == "failed"
    assert started_here(tmp_path) == []
