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

        In those folders nothing is found that is `hidden`, lies in something hidden, or `is_private`, or has a name
        that begins with a dot. Such a folder itself can be read wherever it lies: what is imported from it must be.
        """
        libraries = filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))
        kept = frozenset(os.path.realpath(path) for path in hidden)
        search = _Search.of(kept, is_private)
        for path in (*_INSTALLED, *_SYSTEM, *libraries):
            search.allow(path)
        for folder in {os.path.realpath(path or ".") for path in (*sys.path, *homes)}:
            if any(_is_within(folder, one) for one in _INSTALLED):
                continue
            around = frozenset(one for one in kept if _is_within(folder, one))
            within = search if not around else _Search.of(kept - around, is_private, search)
            if os.path.isdir(folder):
                within.allow_what_is_in(folder)
            else:
                within.allow(folder)
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
    above_hidden: frozenset[str]  # the folders in which something hidden lies
    is_private: IsPrivate
    read: set[_Place] = field(default_factory=set)
    listed: set[_Place] = field(default_factory=set)
    searched: set[str] = field(default_factory=set)  # a link may lead to a folder above it

    @staticmethod
    def of(hidden: frozenset[str], is_private: IsPrivate, beside: _Search | None = None) -> _Search:
        """Return a search; what it finds is found by `beside`, too."""
        above = frozenset(str(folder) for path in hidden for folder in Path(path).parents)
        if beside is None:
            return _Search(hidden, above, is_private)
        return _Search(hidden, above, is_private, beside.read, beside.listed)

    def allow(self, path: str, number: tuple[int, int] | None = None) -> None:
        """Let `path` be read with all below it but what is hidden; `number`: device and number, where known."""
        resolved = os.path.realpath(path) if number is None else path
        if any(_is_within(resolved, one) for one in self.hidden):
            return
        if resolved in self.above_hidden:
            self.allow_what_is_in(resolved)
            return
        with suppress(OSError):  # it does not exist
            if number is None:
                found = os.stat(path)
                number = found.st_dev, found.st_ino
            self.read.add((path, *number))

    def allow_what_is_in(self, folder: str) -> None:
        """Let the names in the resolved `folder` be read, and what lies there."""
        if folder in self.searched:
            return
        self.searched.add(folder)
        with suppress(OSError):
            found = os.stat(folder)
            self.listed.add((folder, found.st_dev, found.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(OSError):  # what cannot be looked at, as a link to itself, stays hidden alone
                        if not entry.name.startswith(".") and not self.is_private(entry):
                            self.allow(entry.path, None if entry.is_symlink() else (found.st_dev, entry.inode()))


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
