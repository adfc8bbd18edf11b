"""An empty Prefect database, made once an installation: a new workspace begins with a copy of it.

Prefect brings a new database up to date in over a hundred steps, five seconds of CPU at the beginning of the first run.
`python -m flows.servers.blank`, the last step of `make install`, takes them beforehand and leaves the file beside the
installed packages. Without it, or after another version of Prefect was installed, all goes as Prefect does it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from flows.settings import default_workspace
from simulator.system.files import replace_file
from simulator.system.sqlite import COMPANIONS

#: how the names begin of Prefect's variables for another database than the one in its home
_ELSEWHERE = ("PREFECT_SERVER_DATABASE_", "PREFECT_API_DATABASE_")


def blank_database() -> Path:
    """Return where the empty database of the installed Prefect lies, if it was made."""
    return Path(sys.prefix) / "share" / "ebbdoor" / f"prefect-{version('prefect')}.db"


def lay_blank(path: Path, blank: Path) -> bool:
    """Copy `blank` to `path`, whole or not at all, unless a database or its log is there; return whether it did."""
    there = any(path.with_name(f"{path.name}{ending}").exists() for ending in ("", *COMPANIONS))
    if there or not blank.exists():
        return False
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(blank, part)
        os.link(part, path)  # unlike a renaming, it never replaces what another process has made meanwhile
    except OSError:
        return False  # Prefect makes its own
    finally:
        part.unlink(missing_ok=True)
    return True


def lay_for(environment: Mapping[str, str]) -> bool:
    """Lay the empty database for a Prefect server with that `environment`; return whether it was laid.

    Only in a workspace of ours, and not where the user has named another database: a home of the user's own may lead to
    one by its profile.
    """
    home = default_workspace() / "prefect"
    named = any(value and name.startswith(_ELSEWHERE) for name, value in environment.items())
    if named or environment.get("PREFECT_HOME") != str(home):
        return False
    home.mkdir(parents=True, exist_ok=True)
    return lay_blank(home / "prefect.db", blank_database())


def make_blank(blank: Path) -> None:
    """Write an empty, up-to-date Prefect database to `blank`. Before any other import of Prefect."""
    with tempfile.TemporaryDirectory(prefix="ebbdoor-") as folder:
        os.environ["PREFECT_HOME"] = folder
        database = Path(folder) / "prefect.db"
        os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{database}"
        _migrate()
        blank.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(database)) as connection:  # one file, without the log that lies beside it
            replace_file(blank, lambda partial: connection.execute("VACUUM INTO ?", (str(partial),)))


def _migrate() -> None:
    import asyncio

    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())


def _make_if_possible(blank: Path) -> None:
    try:
        make_blank(blank)
    except Exception as error:  # noqa: BLE001  of the system, SQLite, SQLAlchemy or Prefect: an installation does without
        reason = str(error).partition("\n")[0]
        sys.stderr.write(f"made no empty Prefect database, so Prefect will make its own: {reason}\n")


if __name__ == "__main__":
    _make_if_possible(blank_database())
