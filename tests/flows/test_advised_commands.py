"""Commands that messages and documents advise: each exists with its options, and works as printed."""

from __future__ import annotations

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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_an_interrupted_run_prints_goes_on_with_it_as_printed(tiny: Path, stocked: Path, tmp_path: Path) -> None:
    ebbdoor = tmp_path / "bin" / "ebbdoor"
    ebbdoor.parent.mkdir()
    ebbdoor.write_text(f'#!/bin/sh\nexec {sys.executable} -m flows.cli "$@"\n')
    ebbdoor.chmod(0o755)
    environment = {**os.environ, "PATH": f"{ebbdoor.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    words = ["run", str(tiny), "--no-prefect", "--processes", "0", "--set", "periods=5", "--out", "my run's"]
    with subprocess.Popen([str(ebbdoor), *words], env=environment, stderr=subprocess.PIPE, text=True) as child:
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
