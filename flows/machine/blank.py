"""An empty Prefect database, made once an installation: a new workspace begins with a copy of it.

Prefect brings a new database up to date in over a hundred steps, five seconds of CPU at the beginning of the first run.
`python -m flows.machine.blank`, the last step of `make install`, takes them beforehand and leaves the file beside the
installed packages. Without it, or after another version of Prefect was installed, all goes as Prefect does it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

__all__ = ["blank_database", "lay_blank", "make_blank"]


def blank_database() -> Path:
    """Return where the empty database of the installed Prefect lies, if it was made."""
    return Path(sys.prefix) / "share" / "ebbdoor" / f"prefect-{version('prefect')}.db"


def lay_blank(place: Path, blank: Path) -> bool:
    """Copy `blank` to `place` unless a file is there already, whole or not at all; return whether it was copied."""
    if place.exists() or not blank.exists():
        return False
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(blank, part)
        os.link(part, place)  # unlike a renaming, it never replaces what another process has made meanwhile
    except OSError:
        return False  # Prefect makes its own
    finally:
        part.unlink(missing_ok=True)
    return True


def make_blank(blank: Path) -> None:
    """Write an empty, up-to-date Prefect database to `blank`. Before any other import of Prefect."""
    with tempfile.TemporaryDirectory(prefix="ebbdoor-") as folder:
        os.environ["PREFECT_HOME"] = folder
        database = Path(folder) / "prefect.db"
        os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{database}"
        _migrate()
        blank.parent.mkdir(parents=True, exist_ok=True)
        part = blank.with_name(f".{blank.name}.{os.getpid()}.part")
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(database)) as connection:  # one file, without the log that lies beside it
            connection.execute("VACUUM INTO ?", (str(part),))
        part.replace(blank)


def _migrate() -> None:
    import asyncio

    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())


if __name__ == "__main__":
    with suppress(OSError):  # an installation that cannot be written to does without
        make_blank(blank_database())
