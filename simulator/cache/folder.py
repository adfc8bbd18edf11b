"""The cache folder as users see it (`ebbdoor cache`): how much it holds of each kind, and how to clear it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import StoreError

SUFFIX = ".safetensors"

#: subfolder of the empty lock files with which processes wait for each other
LOCKS = "locks"

_ENTRY = re.compile(r"[0-9a-f]{64}\.safetensors")
#: images of a user's archives, which all processes map: `simulator.world.sources.unpacked`
_DATA = re.compile(r"\.?[0-9a-f]{64}\.[0-9a-f]{16}\.(train|test)\.npy(\.[0-9]+\.rows)?")
_PARTIAL = re.compile(r"\.[0-9a-f]{64}\.safetensors\.[0-9.]+\.partial")
_LOCK = re.compile(r"[0-9a-f]{64}\.lock")


@dataclass(frozen=True, slots=True)
class Kept:
    """Cached results of one kind: number of files, and their bytes."""

    kind: str
    entries: int
    bytes: int


def usage(folder: Path) -> list[Kept]:
    """Return what the folder holds by kind; nothing when there is no folder."""
    sizes: dict[str, list[int]] = {}
    for path in _files(folder, "*/*", _ENTRY):
        with suppress(FileNotFoundError):  # another process may clear the folder meanwhile
            sizes.setdefault(path.parts[-3], []).append(path.stat().st_size)
    for path in _files(folder, "data", _DATA):
        with suppress(FileNotFoundError):
            sizes.setdefault("data", []).append(path.stat().st_size)
    return [Kept(kind, len(found), sum(found)) for kind, found in sorted(sizes.items())]


def clear(folder: Path) -> list[Kept]:
    """Remove every result and return what was removed, by kind. Folders and files that are not ours stay.

    Processes that use the folder meanwhile carry on and compute again, at worst two of them the same result.
    """
    removed = usage(folder)
    ours = (("*/*", _ENTRY), ("*/*", _PARTIAL), (LOCKS, _LOCK), ("data", _DATA))
    for path in (path for place, name in ours for path in _files(folder, place, name)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"expected {path} to be removable, got {error}; correct its rights") from error
    return removed


def _files(folder: Path, place: str, name: re.Pattern[str]) -> Iterator[Path]:
    """Yield the files named like `name` in the folders that the glob `place` matches."""
    return (path for path in folder.glob(f"{place}/*") if name.fullmatch(path.name) and path.is_file())
