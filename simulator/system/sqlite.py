"""Where a SQLite file lies, as SQLAlchemy's addresses say it, and what SQLite keeps beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from simulator.errors import ScenarioError

#: how the names end of files that SQLite keeps beside a database, and would play back into another one laid there
COMPANIONS: Final = ("-wal", "-shm", "-journal")


def sqlite_address(path: Path, driver: str = "sqlite") -> str:
    """Return the address of the SQLite file `path`; `ScenarioError` where an address cannot hold it."""
    check_address(path)
    return f"{driver}:///{path}"


def check_address(path: Path) -> None:
    """Raise `ScenarioError` where `path` cannot be part of an address: what follows a `?` would be taken for options.

    The database would then lie in another folder than everything else, without a word.
    """
    if "?" in str(path):
        raise ScenarioError(f"expected the workspace's path to hold no '?', got '{path}'; choose another folder")
