"""Opening: a fresh workspace by many at once, quiet, and in seconds when there is nothing to open."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import StoreError
from simulator.production.lineage import LineageState
from simulator.production.registry.base import RunHead
from simulator.production.registry.naming import check_run
from simulator.production.registry.open import open_stores

_OPEN = """
import sys
from pathlib import Path
from simulator.production.registry.open import open_stores
print("ready", flush=True)
sys.stdin.readline()
registry, ledger = open_stores(tracking_uri=None, workspace=Path(sys.argv[1]))
print(registry.links()["MLflow store"])
"""


def test_many_processes_open_a_fresh_workspace_at_once_and_say_nothing(tmp_path: Path) -> None:
    workspace = tmp_path / "fresh"
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    children = [subprocess.Popen([sys.executable, "-c", _OPEN, str(workspace)], env=clean, **pipes) for _ in range(4)]
    assert [child.stdout.readline() for child in children] == ["ready\n"] * 4  # type: ignore[union-attr]
    results = [child.communicate("\n", timeout=120) for child in children]
    assert results == [(f"sqlite:///{workspace / 'mlflow.db'}\n", "")] * 4
    assert [child.returncode for child in children] == [0, 0, 0, 0]


def test_importing_the_stores_loads_neither_mlflow_nor_torch() -> None:
    code = (
        "import sys, simulator.production.registry.open, simulator.production.registry.memory, "
        "simulator.production.registry.folder, simulator.production.registry.mlflow.registry, "
        "simulator.production.registry.mlflow.ledger; print({'mlflow', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_server_that_does_not_answer_raises_in_seconds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(StoreError, match=f"server to answer at http://127.0.0.1:{port}, got none") as raised:
        open_stores(tracking_uri=f"http://user:secret@127.0.0.1:{port}", workspace=tmp_path)
    assert "trying again" not in caplog.text  # it is asked once, not for the minute that an open store is given
    assert "secret" not in str(raised.value)


def test_a_server_that_is_no_mlflow_raises(tmp_path: Path) -> None:
    import http.server
    import threading

    class Deaf(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Deaf) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(StoreError, match="expected the MLflow store at http://127"):
            open_stores(tracking_uri=f"http://127.0.0.1:{server.server_port}", workspace=tmp_path)
        server.shutdown()


def test_a_database_that_is_none_raises(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to look at" * 10)
    with pytest.raises(StoreError, match="expected the MLflow store at sqlite:///"):
        open_stores(tracking_uri=None, workspace=tmp_path)


def test_a_workspace_that_is_a_file_raises(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="to be a folder to write in"):
        open_stores(tracking_uri=None, workspace=tmp_path / "file")


def test_a_deleted_experiment_raises(workspace: Path, client: Any) -> None:
    client.delete_experiment(client.create_experiment("ebbdoor"))
    with pytest.raises(StoreError, match="got a deleted one; restore it"):
        open_stores(tracking_uri=None, workspace=workspace)


def test_a_servers_own_storage_needs_the_server(workspace: Path, client: Any) -> None:
    client.create_experiment("ebbdoor", artifact_location="mlflow-artifacts:/1")
    with pytest.raises(StoreError, match="set MLFLOW_TRACKING_URI"):
        open_stores(tracking_uri=None, workspace=workspace)


@pytest.mark.parametrize("run", ["", "a.b", "a/b", "a:b", "../x", "-a", "a" * 101])
def test_run_names_that_no_store_takes_raise(run: str) -> None:
    with pytest.raises(StoreError, match="expected run to be"):
        check_run(run)


def test_a_registry_of_no_open_run_raises(stores: Any, head: RunHead) -> None:
    with pytest.raises(StoreError, match="open the run first"):
        stores[0].weights(head.lineages[0], 0)
    stores[0].open(head)
    with pytest.raises(StoreError, match="version 1 of 'main' to be in the registry, got none"):
        stores[0].weights(head.lineages[0], 0)
    with pytest.raises(StoreError, match="status to be one of finished, failed, interrupted, open, got 'done'"):
        stores[0].finish("done", {})


def test_publishing_what_was_never_registered_raises(stores: Any, head: RunHead, record: Any) -> None:
    stores[0].open(head)
    with pytest.raises(StoreError, match="or never registered"):
        stores[0].publish(record(0), {}, LineageState((0,), 0))


def test_changed_weights_raise(stores: Any, head: RunHead, payload: Any, workspace: Path) -> None:
    from safetensors.torch import load_file, save_file

    stores[0].open(head)
    stores[0].register(payload(0))
    path = next((workspace / "artifacts").rglob("weights.safetensors"))
    weights = load_file(path)
    next(value for value in weights.values() if value.is_floating_point()).add_(1.0)
    save_file(weights, path)
    with pytest.raises(StoreError, match="to have the weights it was stored with"):
        stores[0].weights(head.lineages[0], 0)
    path.write_bytes(b"torn")
    with pytest.raises(StoreError, match="version 1 of 'main'"):
        stores[0].weights(head.lineages[0], 0)
    path.unlink()
    with pytest.raises(StoreError, match="expected the MLflow store"):
        stores[0].weights(head.lineages[0], 0)
