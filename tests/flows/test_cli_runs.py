"""The command line with a run: played, interrupted, gone on with, reported, deleted. A real SQLite MLflow."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import main

EBBDOOR = [sys.executable, "-m", "flows.cli"]


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert ended.value.code == 0, captured.err
    return captured.out, captured.err


def test_a_run_is_played_in_parts_reported_and_deleted(
    tiny: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = ("--no-prefect", "--processes", "0")
    out, err = output(capsys, "run", str(tiny), "--out", "mine", "--until", "1", *bare)
    assert "slow: " in out
    assert "report" in out
    assert [line.split("  ")[:2] for line in err.split("\n")[1:] if line.startswith("arm ")] == [
        [f"arm {arm}", f"period {period}"] for arm in ("slow", "fast") for period in (0, 1)
    ]
    note = json.loads(Path("mine/run.json").read_text())
    assert note["finished"] is False

    _, err = output(capsys, "resume", "mine", *bare)
    assert len([line for line in err.splitlines() if line.startswith("arm ")]) == 2  # one period of two arms was left
    out, _ = output(capsys, "report", "mine", "--format", "json")
    told = json.loads(out)
    assert [row["period"] for row in told["periods"] if row["arm"] == "slow" and not row["twin"]] == [0, 1, 2]
    assert set(told["summary"]["arms"]) == {"slow", "fast"}

    Path("mine/notes.txt").write_text("mine")
    _, err = output(capsys, "delete", "mine")
    assert "deleted" in err
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]


def test_an_arm_that_diverges_is_named_and_the_exit_code_says_so(
    tiny: Path, stocked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = "arms={hot: {recipe.update.schedule: {use: constant, rate: 1e30}}, calm: {}}"
    commands = [
        ("run", str(tiny), "--set", arms, "--out", "mine", "--no-prefect", "--processes", "0"),
        ("resume", "mine", "--no-prefect", "--processes", "0"),
    ]
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main(command)
        out, err = capsys.readouterr()
        assert ended.value.code == 6
        assert "hot: diverged in period 1 and ended there, so there is no verdict" in " ".join(out.split())
        assert "calm: " in out
        assert "ebbdoor: training of 'hot' diverged in period 1: expected training to stay finite" in err
    assert json.loads(Path("mine/run.json").read_text())["finished"] is True
    out, _ = output(capsys, "status")
    assert "2 of 2; 'hot' diverged in period 1" in out


@pytest.mark.parametrize(
    ("number", "status"),
    [  # one handler for the three, held by tests/system/test_ending.py; each run here takes 20 seconds
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_a_signal_says_what_is_safe_and_how_to_go_on(
    tiny: Path, stocked: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals, status: int
) -> None:
    command = [*EBBDOOR, "run", str(tiny), "--no-prefect", "--processes", "1"]  # one worker hears it as several would
    command += ["--set", "periods=5", "--out", "mine", "--display", "plain"]
    # A group of its own, for a terminal sends Ctrl-C to the workers too. A shell that runs the tests in the background
    # has them ignore Ctrl-C, and a child inherits that: what a terminal's child has is given back to it.
    listening = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    heard = [sys.executable, "-c", listening]
    with subprocess.Popen(
        [*heard, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stderr is not None
        lines = []
        while not any("period 0" in line for line in lines):
            lines.append(child.stderr.readline())
            assert lines[-1], "".join(lines)
        os.killpg(child.pid, number)
        _, rest = child.communicate(timeout=120)
    assert child.returncode == status, rest
    with sqlite3.connect(stocked / "mlflow.db") as store:
        assert store.execute("SELECT DISTINCT status FROM runs").fetchall() == [("KILLED",)]
    store.close()
    assert "Traceback" not in rest
    assert "of 6 periods are committed in every arm, and safe" in rest
    assert rest.strip().splitlines()[-1].strip() == "ebbdoor resume mine"
    output(capsys, "resume", "mine", "--no-prefect", "--processes", "0", "--display", "none")
    assert json.loads(Path("mine/run.json").read_text())["finished"] is True
