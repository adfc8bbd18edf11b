"""`ebbdoor list` names what installed packages bring, and runs none of their code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.strangers import install

_MODULE = """
import os, pathlib, sys
pathlib.Path(os.environ["TRACE"]).write_text("imported")
sys.exit(0)
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a command that finds a package whose module, when imported, leaves a trace and exits."""
    points = dict.fromkeys(("attacks", "defenses", "probes"), "aaa-first = strangers:Thing")
    install(tmp_path / "site", "strangers", points)
    (tmp_path / "site" / "strangers.py").write_text(_MODULE)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "TRACE": str(tmp_path / "trace")}


@pytest.mark.parametrize("kind", ["defenses", "attacks"])
def test_an_installed_plugin_is_listed_with_its_package_and_not_imported(
    kind: str, installed: dict[str, str], tmp_path: Path
) -> None:
    rows = json.loads(_listed(installed, tmp_path, kind, "--format", "json"))
    (theirs,) = [row for row in rows if row["name"] == "aaa-first"]
    assert (theirs["where"], theirs["package"]) == ("strangers:Thing", "strangers")
    assert "not imported" in theirs["options"]
    assert all("not imported" not in row["options"] for row in rows if row is not theirs)
    assert not (tmp_path / "trace").exists()


def test_a_table_shows_it_and_the_options_of_our_own(installed: dict[str, str], tmp_path: Path) -> None:
    lines = _listed(installed, tmp_path, "probes").splitlines()
    at = lines.index("aaa-first")
    assert "not imported, for it is package strangers's; `ebbdoor check aaa-first`" in lines[at + 1]
    assert any(line.split()[:3] == ["steps", "50", "steps,"] for line in lines)
    assert not (tmp_path / "trace").exists()


def _listed(environment: dict[str, str], folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "flows.cli", "list", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout
