"""Where a SQLite file lies, as SQLAlchemy's addresses say it."""

from __future__ import annotations

from pathlib import Path

from simulator.errors import ScenarioError


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
