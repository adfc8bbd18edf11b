"""A run that is really killed, reconciled, gone on with, and reconciled again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EBBDOOR = [sys.executable, "-m", "flows.cli"]
SCENARIO = """
name: tiny
periods: 2
device: cpu
source: {use: digits}
stream: {base: 120, batch: 40, validation: 40, relearning: 10, test: 60}
recipe:
  base: {epochs: 2, batch: 32}
  update: {epochs: 1, batch: 32}
trusted: {images: 20}
"""


def test_a_killed_run_is_closed_gone_on_with_and_needs_nothing_then(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SCENARIO)
    given = {
        name: value for name, value in os.environ.items() if name not in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")
    }
    variables = {**given, "EBBDOOR_WORKSPACE": str(tmp_path / "runs")}

    def call(*arguments: str) -> Any:
        done = subprocess.run(
            [*EBBDOOR, *arguments], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "--format" in arguments else done.stdout

    command = [*EBBDOOR, "run", "tiny.yaml", "--no-prefect", "--display", "json", "--processes", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path, env=variables) as child:
        assert child.stdout is not None
        next(line for line in child.stdout if json.loads(line)["kind"] == "period-committed")
        os.kill(child.pid, signal.SIGKILL)

    (before,) = call("status", "--format", "json")
    assert (before["state"], before["holder"]) == ("interrupted", f"process {child.pid}, here, dead")
    (row,) = call("reconcile", "--format", "json")
    assert (row["was"], row["now"]) == ("running", "interrupted")
    assert call("reconcile", "--format", "json") == []
    (after,) = call("status", "--format", "json")
    assert after == {**before, "holder": "nobody", "waits for": row["next"]}

    call("resume", row["run"], "--no-prefect", "--display", "json", "--processes", "0")
    (finished,) = call("status", "--format", "json")
    assert (finished["state"], finished["committed"], finished["waits for"]) == (
        "finished",
        "2 of 2",
        "nothing: finished",
    )
    assert call("reconcile", "--format", "json") == []
