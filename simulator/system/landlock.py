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
from pathlib import Path
from typing import Final

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


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def version() -> int:
    """Return the version of Landlock that this kernel offers; 0 for none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, 0, _VERSION_ONLY)))


def restrict(*, read: Iterable[Path], listed: Iterable[Path], write: Iterable[Path]) -> bool:
    """Allow only `read` (with all below), names in `listed`, all in `write`, no TCP, no signal outside.

    Returns whether the kernel has taken that; paths that do not exist are left out. It cannot be undone.
    """
    found = version()
    if not found:
        return False
    libc, every = _libc(), _EVERY[min(found, max(_EVERY))]
    ruleset = _Ruleset(every, _TCP if found >= 4 else 0, _SCOPES if found >= 6 else 0)
    size = 24 if found >= 6 else 16 if found >= 4 else 8
    descriptor = libc.syscall(_CREATE_RULESET, ctypes.byref(ruleset), size, 0)
    if descriptor < 0:
        return False
    try:
        for paths, rights in ((read, _EXECUTE | _READ | _LIST), (listed, _LIST), (write, every)):
            for path in paths:
                _allow(libc, descriptor, path, rights & every)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, descriptor, 0) == 0)
    finally:
        os.close(descriptor)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    with suppress(OSError):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            folder = stat.S_ISDIR(os.fstat(opened).st_mode)
            rule = _Beneath(rights if folder else rights & _OF_FILES, opened)
            libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(opened)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
