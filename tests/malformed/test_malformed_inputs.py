"""More than 200 malformed inputs: exit code 2 and one sentence each, in bounded time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.cli import main
from tests.malformed import inputs

#: seconds of CPU time, and bytes, that the refusal of any input may take
SECONDS, BYTES = 5.0, 2**30
#: runs a command from a process that holds little: its peak counts what its parent held when it was started
SMALL = """
import json, resource, subprocess, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
status = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL).returncode
print(json.dumps([status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024]))
"""
KINDS = ("texts", "overrides", "values", "plugins", "networks", "archives")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a user's networks, and a workspace of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path / "runs"))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "nets.py").write_text(inputs.NETS)
    return tmp_path


def arguments(given: list[str]) -> list[str]:
    return ["run", *given, "--no-prefect", "--processes", "0", "--display", "none", "--out", "out"]


def refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> str | None:
    """Return None when the input is refused as it should be, else what happened instead."""
    began = time.process_time()  # of this process alone: how busy the machine is does not matter
    try:
        main(arguments(given))
        code: object = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException as error:  # noqa: BLE001 - what it must not be
        code = repr(error)[:200]
    spent, (_, told) = time.process_time() - began, capsys.readouterr()
    lines = [line for line in told.splitlines() if line]
    fine = code == 2 and len(lines) == 1 and lines[0].startswith("ebbdoor: ") and spent < SECONDS
    return None if fine and len(lines[0]) < 1000 else f"exit {code} after {spent:.1f} s: {told[:300]}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_malformed_input_is_refused_in_one_sentence(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = {name: refused(given, capsys) for name, given in cases(kind, folder).items()}
    faults = {name: found for name, found in faults.items() if found is not None}
    assert not faults, "\n".join(f"{name}: {found}" for name, found in faults.items())
    assert not (folder / "out").exists()


def test_there_are_more_than_two_hundred(folder: Path) -> None:
    assert sum(len(cases(kind, folder)) for kind in KINDS) > 200


def cases(kind: str, folder: Path) -> inputs.Cases:
    """The cases of a kind; of texts each is a file in `folder`."""
    if kind == "archives":
        return inputs.archives(folder)
    if kind != "texts":
        found: inputs.Cases = getattr(inputs, kind)()
        return found
    for name, text in inputs.texts().items():
        (folder / f"{name}.yaml").write_text(text)
    return {name: [f"{name}.yaml"] for name in inputs.texts()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("alias-bomb", "merge-bomb", "deep-aliases", "deep-flow-closed", "long", "many-values", "big-number"),
        *("set-deep", "archive-hash-labels", "archive-id-labels", "archive-lies-about-its-shape"),
        *("network-exits", "network-exits_later"),
    ],
)
def test_a_refusal_takes_neither_long_nor_much_memory(name: str, folder: Path) -> None:
    known = {
        n: given for kind in ("texts", "overrides", "networks", "archives") for n, given in cases(kind, folder).items()
    }

    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SMALL, str(16 * BYTES), sys.executable, "-m", "flows.cli", *arguments(known[name])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    status, most = json.loads(done.stdout)
    assert (status, "Traceback" in done.stderr) == (2, False), done.stderr
    assert most < BYTES
    assert time.monotonic() - began < 60  # of which most is the start on a busy machine
