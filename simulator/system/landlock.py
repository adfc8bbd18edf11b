"""Linux's Landlock: what this process and all that it starts may still read and write, without any privilege.

https://docs.kernel.org/userspace-api/landlock.html. Numbers are of `linux/landlock.h`.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_ONLY: Final = 1
_PATH_BENEATH: Final = 1
_NO_NEW_PRIVILEGES: Final = 38

_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
#: ABI version -> all rights on files that it knows
_EVERY: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
#: rights that a file can have; the others are a folder's
_OF_FILES: Final = _EXECUTE | _WRITE | _READ | 1 << 14 | 1 << 15
#: connections and servers over TCP (ABI 4); abstract Unix sockets and signals to processes outside (ABI 6)
_TCP, _SCOPES = 3, 3


class _Attributes(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def version() -> int:
    """Return the version of Landlock that this kernel offers; 0 for none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, 0, _VERSION_ONLY)))


@final
class Ruleset:
    """What a process may do once it restricts itself to it: no TCP, no signal to processes outside, no files but those
    that are allowed. The process that made it stays free; forks of it have the same ruleset, not a copy.
    """

    def __init__(self, descriptor: int, every: int) -> None:
        #: its file descriptor, -1 after `close`
        self.descriptor = descriptor
        self._every = every

    @staticmethod
    def made() -> Ruleset | None:
        """Return a ruleset that allows no file; None where the kernel offers none."""
        found = version()
        if not found:
            return None
        every = _EVERY[min(found, max(_EVERY))]
        asked = _Attributes(every, _TCP if found >= 4 else 0, _SCOPES if found >= 6 else 0)
        size = 24 if found >= 6 else 16 if found >= 4 else 8
        descriptor = _libc().syscall(_CREATE_RULESET, ctypes.byref(asked), size, 0)
        return None if descriptor < 0 else Ruleset(descriptor, every)

    def allow(self, *, read: Iterable[Path] = (), listed: Iterable[Path] = (), write: Iterable[Path] = ()) -> Ruleset:
        """Allow `read` (with all below), the names in `listed`, all in `write`; leave out paths that do not exist."""
        libc = _libc()
        for paths, rights in ((read, _EXECUTE | _READ | _LIST), (listed, _LIST), (write, self._every)):
            for path in paths:
                _allow(libc, self.descriptor, path, rights & self._every)
        return self

    def restrict(self) -> bool:
        """Restrict this process and all that it starts, for good; return whether the kernel has taken that."""
        libc = _libc()
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, self.descriptor, 0) == 0)

    def close(self) -> None:
        """Let go of the ruleset; who is restricted stays so."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    with suppress(OSError):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            folder = stat.S_ISDIR(os.fstat(opened).st_mode)
            rule = _Beneath(rights if folder else rights & _OF_FILES, opened)
            libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(opened)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
