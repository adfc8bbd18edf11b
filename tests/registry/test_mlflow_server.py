"""The stores against a real MLflow server: its own storage, checks of sources, and its address in the links."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest

from simulator.errors import RunHeldError, StoreError
from simulator.production.lineage import LineageState
from simulator.production.registry.base import Entry, RunHead
from simulator.production.registry.environment import prepare_environment
from simulator.production.registry.open import open_stores
from simulator.records import LineageKey
from simulator.system.patience import PATIENCE
from simulator.tensors import weights_digest

pytestmark = pytest.mark.slow
MAIN = LineageKey(arm="main")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    prepare_environment()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(tmp_path / "kept"), "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log, cwd=tmp_path)
    try:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(30)


def test_a_period_in_a_servers_store_and_the_server_lost(
    server: tuple[str, Any],
    tmp_path: Path,
    head: RunHead,
    payload: Callable[..., Any],
    record: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import mlflow

    monkeypatch.setenv(PATIENCE, "5")  # seconds, of a minute by default, that a lost server is asked again
    address, process = server
    registry, ledger = open_stores(tracking_uri=address, workspace=tmp_path / "unused")
    ledger.hold("r1")
    ledger.open(head)
    registry.open(head)
    registry.register(payload(0))
    registry.publish(record(0), {"timing": {"train": 1.0}}, LineageState((0,), 0))
    ledger.commit(Entry(record(0), record(0).digest()))

    other, reader = open_stores(tracking_uri=address, workspace=tmp_path / "unused")
    with pytest.raises(RunHeldError, match=str(os.getpid())):
        reader.hold("r1")
    assert reader.head("r1") == head
    assert [entry.record for entry in reader.entries(MAIN)] == [record(0)]
    other.open(head)
    assert weights_digest(other.weights(MAIN, 0)) == weights_digest(payload(0).weights)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    served = mlflow.pyfunc.load_model("models:/ebbdoor.r1.main@champion")
    assert served.predict(np.zeros((2, 1, 8, 8), np.float32)).shape == (2, 3)
    assert other.links()["MLflow run"].startswith(f"{address}/#/experiments/")
    registry.finish("finished", {})
    other.delete("r1")
    assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []
    assert capfd.readouterr().out == ""

    process.terminate()
    process.wait(30)
    begun = time.monotonic()
    with pytest.raises(StoreError, match="resume"):
        reader.head("r1")
    assert time.monotonic() - begun < 120  # MLflow by itself would go on asking for several minutes


def _wait(address: str, process: Any) -> None:
    for _ in range(240):
        assert process.poll() is None, "the server ended"
        try:
            urlopen(address, timeout=1).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError("the server did not answer in two minutes")
