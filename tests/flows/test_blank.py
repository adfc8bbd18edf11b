"""The empty Prefect database: copied into a new workspace, never over what is there."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from flows.servers.blank import _make_if_possible, blank_database, lay_blank, lay_for, make_blank
from flows.servers.companion import prefect_api
from flows.servers.start import launch_prefect


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


@pytest.mark.parametrize("beside", ["prefect.db-wal", "prefect.db-shm", "prefect.db-journal"])
def test_nothing_is_laid_beside_the_log_of_a_database_that_is_gone(tmp_path: Path, beside: str) -> None:
    (tmp_path / "blank.db").write_bytes(b"empty")
    (tmp_path / beside).write_bytes(b"log")
    assert not lay_blank(tmp_path / "prefect.db", tmp_path / "blank.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blank.db", beside]


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


@pytest.fixture
def home(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a Prefect server of the workspace keeps its history, with an empty database to copy; no server starts."""
    (workspace.parent / "blank.db").write_bytes(b"empty")
    monkeypatch.setattr("flows.servers.blank.blank_database", lambda: workspace.parent / "blank.db")
    monkeypatch.setenv("PREFECT_HOME", str(workspace / "prefect"))
    return workspace / "prefect"


ELSEWHERE = [
    {"PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://there/prefect"},
    {"PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://there/prefect"},
    {"PREFECT_SERVER_DATABASE_DRIVER": "postgresql+asyncpg"},
    {"PREFECT_HOME": "of the user's own"},
]


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_none_is_laid_for_a_server_whose_history_lies_elsewhere(home: Path, elsewhere: dict[str, str]) -> None:
    assert not lay_for({**os.environ, **elsewhere})
    assert not home.exists()
    assert lay_for(os.environ)
    assert (home / "prefect.db").read_bytes() == b"empty"


@pytest.mark.parametrize("elsewhere", [{}, ELSEWHERE[0]])
def test_the_server_of_one_command_finds_it_laid(
    home: Path, elsewhere: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in elsewhere.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    with prefect_api(home.parent, lambda _: None):
        assert (home / "prefect.db").exists() == (not elsewhere)


@pytest.mark.parametrize("elsewhere", [{}, ELSEWHERE[0]])
def test_the_server_that_stays_finds_it_laid(
    home: Path, elsewhere: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in elsewhere.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    launch_prefect(home.parent, 1)
    assert (home / "prefect.db").exists() == (not elsewhere)


def _no_database() -> None:
    Path(os.environ["PREFECT_HOME"], "prefect.db").write_text("no database" * 1000)


def _no_migration() -> None:
    raise OperationalError("CREATE TABLE flow", {}, sqlite3.OperationalError("database or disk is full"))


@pytest.mark.parametrize(
    ("migrate", "place", "reason"),
    [
        (_no_database, "share", "file is not a database"),
        (_no_migration, "share", "(sqlite3.OperationalError) database or disk is full"),
        (_no_database, "file/share", "[Errno 20] Not a directory"),
    ],
)
def test_where_none_can_be_made_one_line_says_so_and_nothing_is_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    migrate: Callable[[], None],
    place: str,
    reason: str,
) -> None:
    for name in ("PREFECT_HOME", "PREFECT_API_DATABASE_CONNECTION_URL"):
        monkeypatch.setenv(name, "restored afterwards")
    monkeypatch.setattr("flows.servers.blank._migrate", migrate)
    (tmp_path / "file").touch()
    _make_if_possible(tmp_path / place / "blank.db")
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith(f"made no empty Prefect database, so Prefect will make its own: {reason}")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "file"]


def test_a_file_half_written_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_HOME", "PREFECT_API_DATABASE_CONNECTION_URL"):
        monkeypatch.setenv(name, "restored afterwards")
    monkeypatch.setattr("flows.servers.blank._migrate", lambda: None)  # SQLite makes a database without tables
    (tmp_path / "blank.db").mkdir()  # which no file replaces
    with pytest.raises(OSError, match=r"blank\.db"):
        make_blank(tmp_path / "blank.db")
    assert [path.name for path in tmp_path.iterdir()] == ["blank.db"]


@pytest.mark.slow
def test_a_full_disk_leaves_an_installation_without_one(tmp_path: Path) -> None:
    """A limit on the size of files fails SQLite's writing as a full disk does."""
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    code += f"from pathlib import Path; from flows.servers import blank; place = Path({str(tmp_path)!r}) / 'blank.db'\n"
    code += "blank._make_if_possible(place)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "made no empty Prefect database" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_made_is_up_to_date_and_empty(tmp_path: Path) -> None:
    """Prefect, asked to bring the copy up to date, finds nothing to do."""
    blank = tmp_path / "share" / "blank.db"
    code = f"from pathlib import Path; from flows.servers.blank import make_blank; make_blank(Path({str(blank)!r}))"
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
