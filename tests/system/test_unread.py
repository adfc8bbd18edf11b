"""Output that nobody reads any more does not end a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from simulator.system.unread import outlive_readers
outlive_readers()
for number in range(3):
    print("x" * 100_000, file=sys.stdout)
    print("x" * 100_000, file=sys.stderr, flush=True)
open(sys.argv[1], "w").write("done")
"""


@pytest.mark.parametrize("closed", ["stdout", "stderr", "both"])
def test_a_process_goes_on_after_its_readers_have_gone(tmp_path: Path, closed: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    streams = {name: writer if closed in (name, "both") else subprocess.PIPE for name in ("stdout", "stderr")}
    command = [sys.executable, "-c", CODE, str(tmp_path / "file")]
    done = subprocess.run(command, stdout=streams["stdout"], stderr=streams["stderr"], check=False)
    os.close(writer)
    assert done.returncode == 0
    assert (tmp_path / "file").read_text() == "done"
    for name in ("stdout", "stderr"):
        if closed not in (name, "both"):
            assert getattr(done, name) == (b"x" * 100_000 + b"\n") * 3


def test_a_command_ends_with_its_own_code_when_nobody_reads_it() -> None:
    script = f"set -o pipefail; {sys.executable} -m flows.cli show quickstart 2>&1 | true"
    assert subprocess.run(["bash", "-c", script], check=False).returncode == 0
