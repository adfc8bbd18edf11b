"""Every test runs off-line and quiet, on one thread, in a workspace of its own."""

from __future__ import annotations

import ipaddress
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_HOME = tempfile.mkdtemp(prefix="ebbdoor-tests-")

#: before torch, Prefect or MLflow is imported, for they read these once
os.environ |= {
    "DO_NOT_TRACK": "true",
    "EBBDOOR_WORKSPACE": os.path.join(_HOME, "runs"),
    "MKL_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_NUM_THREADS": "1",
    "PREFECT_HOME": os.path.join(_HOME, "prefect"),
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
for _name in (
    "EBBDOOR_MLFLOW_DATABASE",
    "EBBDOOR_PREFECT_DATABASE",
    "MLFLOW_TRACKING_URI",
    "PREFECT_API_URL",
    "PREFECT_PROFILE",
):
    os.environ.pop(_name, None)


def _refuse_the_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Fail a connection that leaves this machine: nothing of ours may need one."""
    if event != "socket.connect" or not isinstance(arguments[1], tuple):
        return
    host = arguments[1][0]
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = host == "localhost"
    if not inside:
        raise PermissionError(f"expected a test to stay on this machine, got a connection to {host}")


sys.addaudithook(_refuse_the_network)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the workspace."""
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture
def user_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Return a function that writes a user's file; modules from there are forgotten, as in a new process.

    Their names begin with `user_`.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def forget() -> None:
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(str(tmp_path)) or name.startswith("user_"):
                del sys.modules[name]

    def written(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        forget()

    yield written
    forget()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with its tables and without an experiment. Making the tables takes a second of CPU time."""
    from simulator.production.registry.open import open_stores

    folder = tmp_path_factory.mktemp("store")
    open_stores(tracking_uri=None, workspace=folder)
    with sqlite3.connect(folder / "mlflow.db") as made, sqlite3.connect(folder / "empty.db") as copy:
        made.backup(copy)
        copy.execute("DELETE FROM experiment_tags")
        copy.execute("DELETE FROM experiments WHERE name = 'ebbdoor'")  # it names the folder of its artifacts
        assert copy.total_changes == 2
    made.close()
    copy.close()
    return folder / "empty.db"
