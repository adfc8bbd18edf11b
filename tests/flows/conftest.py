"""What tests of flows share: a scenario of seconds, a workspace, and one Prefect server for the whole session."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

TINY = """
name: tiny
periods: 2
device: cpu
source: {use: digits}
stream: {base: 120, batch: 40, validation: 40, relearning: 10, test: 60}
attack: {use: patch, target: 0, size: 2}
campaign: {use: one-shot, period: 0, rate: 0.1}
recipe:
  base: {epochs: 2, batch: 32}
  update: {epochs: 1, batch: 32}
trusted: {images: 20}
gate: {use: accuracy, tolerance: 0.5}
probes: [{use: attack-success}]
arms:
  slow: {}
  fast: {recipe.update.schedule: {use: constant, rate: 0.05}}
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of the test's own, in the folder that the test runs in; it is not there yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def stocked(workspace: Path, empty_store: Path) -> Path:
    """The workspace, with the tables of its store made."""
    workspace.mkdir()
    shutil.copy(empty_store, workspace / "mlflow.db")
    return workspace


@pytest.fixture(scope="session")
def tiny_text() -> str:
    """A scenario with two arms and their twins that is played in seconds."""
    return TINY


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The path of a scenario with two arms and their twins that is played in seconds."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A Prefect server with an empty database. Its start takes 10 to 60 s on two busy cores."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=240):
        yield
