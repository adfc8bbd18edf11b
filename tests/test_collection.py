"""Workers of one test session must collect the same tests: nothing in an id may differ between two processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: escaped bytes, an object's address, a path of this machine
NOT_A_WORD = re.compile(r"\\x[0-9a-f]{2}|\bat 0x[0-9a-f]+|(?<![\w.])/(?:tmp|home|root|usr|var|work)/")


def collected(folder: Path, seed: int, zone: str) -> list[str]:
    """The ids of the whole suite, slow tests included, as a process in `folder` with this hash seed collects them."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), str(ROOT / "tests")]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment | {"PYTHONHASHSEED": str(seed), "TMPDIR": str(folder), "TZ": zone},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.timeout(900)
def test_two_processes_collect_the_same_tests(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "another"]
    for folder in folders:
        folder.mkdir()
    first = collected(folders[0], seed=0, zone="UTC")  # takes seconds, and file headers hold whole ones
    second = collected(folders[1], seed=1, zone="Asia/Kolkata")
    assert len(first) > 1000
    assert [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]] == []
    assert len(first) == len(second)
    assert [line for line in first if NOT_A_WORD.search(line)] == []
