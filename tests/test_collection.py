"""Workers of one test session must collect the same tests: nothing in an id may differ between two processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import groupby
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


def by_file(ids: list[str]) -> dict[str, list[str]]:
    """The ids of each file, in their order: that of the files is the command line's."""
    return {file: list(found) for file, found in groupby(ids, key=lambda one: one.split("::")[0])}


def in_order(ids: list[str], all_ids: list[str]) -> bool:
    """Tell whether `ids` are among `all_ids`, in the same order."""
    remaining = iter(all_ids)
    return all(one in remaining for one in ids)


@pytest.mark.timeout(900)
def test_two_processes_collect_the_same_tests(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    # This process collected its tests seconds ago, and file headers hold whole seconds. It may be asked for few.
    here = [item.nodeid.removeprefix(f"{ROOT}/") for item in request.session.items]
    there = collected(tmp_path, seed=_another_seed(), zone="Asia/Kolkata")
    assert len(there) > 1000
    found = by_file(there)
    assert [file for file, ids in by_file(here).items() if not in_order(ids, found.get(file, []))] == []
    assert [line for line in there if NOT_A_WORD.search(line)] == []


def _another_seed() -> int:
    return 2 if os.environ.get("PYTHONHASHSEED") == "1" else 1
