"""The folder of what is remembered, for people: how much of each kind it holds, and how to clear it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import StoreError

__all__ = ["LOCKS", "SUFFIX", "Kept", "clear", "usage"]

SUFFIX = ".safetensors"

#: the folder, inside the cache's, of the empty files by which processes wait for each other
LOCKS = "locks"

_ENTRY = re.compile(r"[0-9a-f]{64}\.safetensors")
_PARTIAL = re.compile(r"\.[0-9a-f]{64}\.safetensors\.[0-9.]+\.partial")
_LOCK = re.compile(r"[0-9a-f]{64}\.lock")


@dataclass(frozen=True, slots=True)
class Kept:
    """Results of one kind: how many files, and their bytes."""

    kind: str
    entries: int
    bytes: int


def usage(folder: Path) -> list[Kept]:
    """Return what the folder holds, by kind; nothing where there is no folder."""
    sizes: dict[str, list[int]] = {}
    for path in _files(folder, "*/*", _ENTRY):
        with suppress(FileNotFoundError):  # another process clears the folder
            sizes.setdefault(path.parts[-3], []).append(path.stat().st_size)
    return [Kept(kind, len(found), sum(found)) for kind, found in sorted(sizes.items())]


def clear(folder: Path) -> list[Kept]:
    """Remove every result and return what was removed, by kind. What ebbdoor did not write is left, and so are folders.

    Processes that use the folder meanwhile go on: they compute again, at worst two of them the same.
    """
    removed = usage(folder)
    ours = (("*/*", _ENTRY), ("*/*", _PARTIAL), (LOCKS, _LOCK))
    for path in (path for place, name in ours for path in _files(folder, place, name)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"expected {path} to be removable, got {error}; correct its rights") from error
    return removed


def _files(folder: Path, place: str, name: re.Pattern[str]) -> Iterator[Path]:
    """The files of `name` in the folders `place`, a glob."""
    return (path for path in folder.glob(f"{place}/*") if name.fullmatch(path.name) and path.is_file())
