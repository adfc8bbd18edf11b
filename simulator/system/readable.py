"""What a confined process may read: the installation, and what lies beside the modules that it imports."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

#: what programs and libraries of the system read
_SYSTEM: Final = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/proc", "/sys", "/etc/alternatives", "/etc/fonts",
    "/etc/group", "/etc/hosts", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime",
    "/etc/nsswitch.conf", "/etc/os-release", "/etc/passwd", "/etc/ssl", "/etc/timezone",
)  # fmt: skip
#: found once: a fork of the process that has imported this module need not read Python's build settings again
_INSTALLED: Final = frozenset(
    os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())
)

IsPrivate = Callable[[os.DirEntry[str]], bool]
#: a path, and device and number of what lies there: a file that is written anew is another
_Place = tuple[str, int, int]


@final
@dataclass(frozen=True, slots=True)
class Readable:
    """What may be read with all below, and the folders of which only the names may be; equal while all stays."""

    read: frozenset[_Place]
    listed: frozenset[_Place]

    @staticmethod
    def now(homes: Iterable[str], hidden: Iterable[Path], is_private: IsPrivate) -> Readable:
        """Look at the installation, the folders of the import path and `homes`.

        In those folders nothing is found that is `hidden`, or `is_private`, or has a name that begins with a dot.
        """
        libraries = filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))
        kept = [Path(os.path.realpath(path)) for path in hidden]
        above = frozenset(str(folder) for path in kept for folder in path.parents)
        search = _Search(frozenset(map(str, kept)), above, is_private)
        for path in (*_INSTALLED, *_SYSTEM, *libraries):
            search.open(path)
        for folder in {os.path.realpath(path or ".") for path in (*sys.path, *homes)}:
            if any(_is_within(folder, one) for one in _INSTALLED):
                continue
            if os.path.isdir(folder):
                search.show(folder)
            else:
                search.open(folder)
        return Readable(frozenset(search.read), frozenset(search.listed))

    @property
    def read_paths(self) -> list[Path]:
        """The paths of `read`."""
        return [Path(path) for path, _, _ in self.read]

    @property
    def listed_paths(self) -> list[Path]:
        """The paths of `listed`."""
        return [Path(path) for path, _, _ in self.listed]


@final
@dataclass(frozen=True, slots=True)
class _Search:
    hidden: frozenset[str]
    above: frozenset[str]  # the folders in which something hidden lies
    is_private: IsPrivate
    read: set[_Place] = field(default_factory=set)
    listed: set[_Place] = field(default_factory=set)

    def open(self, path: str, number: tuple[int, int] | None = None) -> None:
        """Let `path` be read with all below it but what is hidden; `number`: device and number, where known."""
        resolved = os.path.realpath(path) if number is None else path
        if resolved in self.hidden:
            return
        if resolved in self.above:
            self.show(resolved)
            return
        with suppress(OSError):  # it does not exist
            if number is None:
                found = os.stat(path)
                number = found.st_dev, found.st_ino
            self.read.add((path, *number))

    def show(self, folder: str) -> None:
        """Let the names in the resolved `folder` be read, and what lies there."""
        with suppress(OSError):
            found = os.stat(folder)
            self.listed.add((folder, found.st_dev, found.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.startswith(".") and not self.is_private(entry):
                        self.open(entry.path, None if entry.is_symlink() else (found.st_dev, entry.inode()))


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
