"""Which files beside a defense's module are not for it: they tell what the attack is, or what it has reached."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

#: the file that marks a run's folder
_NOTE: Final = "run.json"
_SCENARIO: Final = re.compile(rb"^[\"']?(attack|campaign|arms|scenarios)[\"']?\s*:", re.MULTILINE)
_HEAD: Final = 1_000_000  # bytes of a file that are looked at


def is_private(path: Path | os.DirEntry[str]) -> bool:
    """Return whether `path` is a run's folder, or a file with the keys of a scenario or a study.

    >>> is_private(Path("no-such-folder"))
    False
    """
    if path.is_dir():
        note = f"{os.fspath(path)}{os.sep}{_NOTE}"
        return os.access(note, os.F_OK) and os.path.isfile(note)  # the first alone is faster, and mostly enough
    if not path.name.endswith((".yaml", ".yml")) or not path.is_file():
        return False
    with suppress(OSError), open(path, "rb") as file:
        return _SCENARIO.search(file.read(_HEAD)) is not None
    return True
