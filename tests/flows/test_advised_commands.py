"""Commands that messages and documents advise: each exists with its options, and works as printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [path for package in ("simulator", "flows", "defenses") for path in sorted((ROOT / package).rglob("*.py"))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: placeholders in advice
PLACEHOLDER = re.compile(
    r"\{[^}]*\}|DIR|RUN\b|SCENARIO|STUDY|ARM|TEXT|MODULE:NAME|module:Name|VERSION|FILE(\.md)?|PERIOD|SECONDS"
)


def advised() -> list[str]:
    """Every `ebbdoor COMMAND ...` in backticks, in sources and pages, and the lines of the pages' shell blocks."""
    texts = [path.read_text("utf-8") for path in (*SOURCES, *PAGES)]
    found = {words for text in texts for words in re.findall(r"(?<!`)`(ebbdoor [a-z][^`\n]*)`(?!`)", text)}
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            found |= {line.partition("  #")[0].strip() for line in block.splitlines() if line.startswith("ebbdoor ")}
    return sorted(found)


@pytest.mark.parametrize("advice", advised())
def test_the_command_and_its_options_exist(advice: str) -> None:
    from typer.main import get_command

    from flows.cli import app

    advice = PLACEHOLDER.sub("7", advice)
    plain = re.sub(r"[\[\]]", " ", advice) if "'" not in advice else advice  # brackets mark what may be left out
    _, name, *words = shlex.split(plain)
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    assert name in commands
    known = {option for parameter in commands[name].params for option in parameter.opts} | {"--help"}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


#: command and options -> the test that executes it as a message prints it
EXECUTED = {
    "audit": "tests/registry/test_audits.py",
    "audit --allow-pickle": "tests/registry/test_audits.py",
    "audit --fail-on-flag": "tests/registry/test_audits.py",
    "bench": "tests/bench",
    "cache": "tests/cache",
    "cache --clear": "tests/cache",
    "calibrate": "tests/calibration",
    "check": "tests/test_documents.py",
    "compare": "tests/operate/test_advice_works.py",
    "delete": "tests/operate/test_advice_works.py",
    "down": "tests/test_pages_slow.py",
    "init": "tests/flows/test_init.py",
    "list": "tests/operate/test_advice_works.py",
    "numerics": "tests/portable",
    "numerics --format": "tests/portable",
    "power": "tests/study_runner/test_power.py",
    "reconcile": "tests/operate/test_advice_works.py",
    "reconcile --dry-run": "tests/operate/test_reconcile.py",
    "reconcile --restore": "tests/operate/test_advice_works.py",
    "reconcile --take-over": "tests/operate/test_advice_works.py",
    "report": "tests/operate/test_advice_works.py",
    "resume": "here",
    "rollback": "tests/operate/test_rollback.py",
    "rollback --arm --to --reason": "tests/operate/test_advice_works.py",
    "run": "tests/test_pages_slow.py",
    "run --until": "tests/flows",
    "status": "tests/test_pages_slow.py",
    "study": "tests/test_pages_slow.py",
    "ui": "tests/test_pages_slow.py",
    "up": "tests/test_pages_slow.py",
    "view": "tests/flows/test_view.py",
}


def test_every_command_that_a_message_advises_is_executed_by_a_test() -> None:
    texts = [path.read_text("utf-8") for path in SOURCES]
    found = {words for text in texts for words in re.findall(r"(?<!`)`ebbdoor ([a-z][^`\n]*)`(?!`)", text)}
    kinds = {" ".join([words.split()[0], *re.findall(r"--[a-z-]+", words)]) for words in found}
    assert kinds == EXECUTED.keys()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables of a shell in which `ebbdoor` is on the path."""
    ebbdoor = tmp_path / "bin" / "ebbdoor"
    ebbdoor.parent.mkdir()
    ebbdoor.write_text(f'#!/bin/sh\nexec {sys.executable} -m flows.cli "$@"\n')
    ebbdoor.chmod(0o755)
    return {**os.environ, "PATH": f"{ebbdoor.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def printed_by(command: str, code: int, environment: dict[str, str]) -> str:
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_refused_resume_prints_the_command_that_is_not_refused(
    tiny: Path, stocked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """After an edit of the user's own code, then after a process on another host that held the run."""
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    drift = tmp_path / "own_drift.py"
    drift.write_text("from simulator.world.drift import Rotation as Own\n")
    out = "'my run'"
    words = f"ebbdoor run {tiny} --no-prefect --processes 0 --set periods=3 --until 0 --out {out} --display none"
    printed_by(f"{words} --set 'drift=[{{use: \"own_drift:Own\", degrees: 5}}]'", 0, environment)
    drift.write_text("from simulator.world.drift import Rotation as Own  # edited\n")
    last = printed_by(f"ebbdoor resume {out} --no-prefect --until 1", 2, environment).strip().splitlines()[-1]
    assert last.strip() == f"ebbdoor resume {out} --accept-changed-code"
    printed_by(f"{last} --no-prefect --until 1 --display none", 0, environment)

    uri = f"sqlite:///{environment['EBBDOOR_WORKSPACE']}/mlflow.db"
    run = json.loads((tmp_path / "my run" / "run.json").read_text())["run"]
    tags = {"run": run, "host": "elsewhere", "boot": "1", "pid": "1", "started": "1", "token": "ab" * 16}
    MlflowClient(uri, registry_uri=uri).create_registered_model(f"ebbdoor.{run}.writer_lock", tags=tags)
    refusal = printed_by(f"ebbdoor resume {out} --no-prefect", 4, environment)
    last = refusal.strip().splitlines()[-1]
    assert last.strip() == f"ebbdoor resume {out} --take-over"
    printed_by(f"{last} --no-prefect --display none", 0, environment)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_an_interrupted_run_prints_goes_on_with_it_as_printed(
    tiny: Path, stocked: Path, environment: dict[str, str]
) -> None:
    words = ["run", str(tiny), "--no-prefect", "--processes", "0", "--set", "periods=5", "--out", "my run's"]
    with subprocess.Popen(["ebbdoor", *words], env=environment, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        while "period 0" not in (line := child.stderr.readline()):
            assert line
        time.sleep(0.1)
        child.send_signal(signal.SIGTERM)
        printed = child.stderr.read().strip().splitlines()[-1].strip()
    assert child.returncode == 143
    assert printed == "ebbdoor resume 'my run'\"'\"'s'"
    again = subprocess.run(f"{printed} --no-prefect --display none", shell=True, env=environment, check=False)
    assert again.returncode == 0
