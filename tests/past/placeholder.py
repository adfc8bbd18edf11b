"""What the runs that were kept and the tests that resume them agree on."""

from __future__ import annotations

import sqlite3

__all__ = ["PLACEHOLDER", "UNTIL", "replace_in"]

#: the last period that was played
UNTIL = 2
#: stands for the folder of the workspace, wherever a path was written down
PLACEHOLDER = "/WORKSPACE"


def replace_in(database: sqlite3.Connection, old: str, new: str) -> None:
    """Replace a text in every cell of every table."""
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
        for column in columns:
            database.execute(
                f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE instr("{column}", ?)',
                (old, new, old),
            )
