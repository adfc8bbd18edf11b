"""The empty Prefect database: copied into a new workspace, never over what is there."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from flows.machine.blank import blank_database, lay_blank


def test_a_copy_is_laid_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "blank.db").write_bytes(b"empty")
    assert lay_blank(tmp_path / "prefect.db", tmp_path / "blank.db")
    assert (tmp_path / "prefect.db").read_bytes() == b"empty"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blank.db", "prefect.db"]


def test_what_is_there_is_left(tmp_path: Path) -> None:
    (tmp_path / "blank.db").write_bytes(b"empty")
    (tmp_path / "prefect.db").write_bytes(b"history")
    assert not lay_blank(tmp_path / "prefect.db", tmp_path / "blank.db")
    assert (tmp_path / "prefect.db").read_bytes() == b"history"


def test_what_another_process_makes_meanwhile_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blank.db").write_bytes(b"empty")
    link = os.link

    def late(source: Path, target: Path) -> None:
        target.write_bytes(b"history")
        link(source, target)

    monkeypatch.setattr("os.link", late)
    assert not lay_blank(tmp_path / "prefect.db", tmp_path / "blank.db")
    assert (tmp_path / "prefect.db").read_bytes() == b"history"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blank.db", "prefect.db"]


def test_without_one_or_without_a_folder_prefect_makes_its_own(tmp_path: Path) -> None:
    assert not lay_blank(tmp_path / "prefect.db", tmp_path / "blank.db")
    (tmp_path / "blank.db").write_bytes(b"empty")
    assert not lay_blank(tmp_path / "no folder" / "prefect.db", tmp_path / "blank.db")
    assert [path.name for path in tmp_path.iterdir()] == ["blank.db"]


def test_it_is_of_the_installed_prefect() -> None:
    assert blank_database().name == f"prefect-{version('prefect')}.db"
    assert blank_database().is_relative_to(sys.prefix)


@pytest.mark.slow
def test_what_is_made_is_up_to_date_and_empty(tmp_path: Path) -> None:
    """Prefect, asked to bring the copy up to date, finds nothing to do."""
    blank = tmp_path / "share" / "blank.db"
    code = f"from pathlib import Path; from flows.machine.blank import make_blank; make_blank(Path({str(blank)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    (tmp_path / "home").mkdir()
    assert lay_blank(tmp_path / "home" / "prefect.db", blank)

    def tables() -> dict[str, str]:
        with closing(sqlite3.connect(tmp_path / "home" / "prefect.db")) as connection:
            return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))

    def rows() -> dict[str, int]:
        with closing(sqlite3.connect(tmp_path / "home" / "prefect.db")) as connection:
            names = [name for name, sql in tables().items() if sql.startswith("CREATE TABLE")]
            return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}

    before = tables()
    assert {name for name, count in rows().items() if count} == {"alembic_version"}
    upgrade = "import asyncio; from prefect.server.database import provide_database_interface as database\n"
    upgrade += "asyncio.run(database().create_db())"
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "home")}
    environment["PREFECT_API_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{tmp_path / 'home' / 'prefect.db'}"
    subprocess.run([sys.executable, "-c", upgrade], env=environment, check=True, capture_output=True)
    assert tables() == before
