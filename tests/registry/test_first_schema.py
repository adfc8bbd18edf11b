"""MLflow's tables in a new workspace: whole or not there, whenever the process is killed that makes them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from simulator.errors import StoreError
from simulator.production.registry.environment import prepare_environment
from simulator.production.registry.open import open_stores

pytestmark = pytest.mark.timeout(600)

OPEN = "import sys; from pathlib import Path; from simulator.production.registry.open import open_stores\n"
OPEN += "open_stores(tracking_uri=None, workspace=Path(sys.argv[1]))"


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def killed_with(folder: Path, wanted: int) -> int:
    """Open a new workspace in a process that is killed once it has made so many tables; return how many it had."""
    process = subprocess.Popen([sys.executable, "-c", OPEN, str(folder)], start_new_session=True)
    seen = 0
    while process.poll() is None and seen < wanted:
        for path in (folder / "mlflow.db", folder / ".mlflow.db.part"):
            try:
                seen = max(seen, len(tables(path)))
            except sqlite3.Error:
                continue
        time.sleep(0.002)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [0, 1, 5, 30, 60, 66])
def test_a_kill_while_the_tables_are_made_does_no_harm(tmp_path: Path, wanted: int) -> None:
    assert killed_with(tmp_path, wanted) >= wanted or wanted > 65
    assert not (tmp_path / "mlflow.db").exists() or "alembic_version" in tables(tmp_path / "mlflow.db")
    _, ledger = open_stores(tracking_uri=None, workspace=tmp_path)
    assert ledger.runs() == []


def half_made(path: Path) -> None:
    """What MLflow's own first steps leave: its oldest tables, without a revision."""
    prepare_environment()
    import sqlalchemy
    from mlflow.store.tracking.dbmodels.initial_models import Base

    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    engine.dispose()


def test_half_made_tables_of_an_earlier_kill_are_set_aside(tmp_path: Path) -> None:
    half_made(tmp_path / "mlflow.db")
    old = tables(tmp_path / "mlflow.db")
    _, ledger = open_stores(tracking_uri=None, workspace=tmp_path)
    assert ledger.runs() == []
    assert tables(tmp_path / "mlflow.db.half-made") == old
    assert old < tables(tmp_path / "mlflow.db")


def test_a_database_that_holds_a_row_is_never_touched(tmp_path: Path) -> None:
    half_made(tmp_path / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection, connection:
        connection.execute("INSERT INTO experiments (name, lifecycle_stage) VALUES ('mine', 'active')")
    open_stores(tracking_uri=None, workspace=tmp_path)  # MLflow itself completes these tables
    assert not (tmp_path / "mlflow.db.half-made").exists()
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        assert ("mine",) in connection.execute("SELECT name FROM experiments").fetchall()


def test_what_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("my notes, which are longer than the head of a database file" * 20)
    with pytest.raises(StoreError, match=r"expected the MLflow store at sqlite:///.*mlflow\.db to be a database, got"):
        open_stores(tracking_uri=None, workspace=tmp_path)
    assert (tmp_path / "mlflow.db").read_text().startswith("my notes")
