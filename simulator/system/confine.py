"""Confining a process before it runs a stranger's code: no network, no reading beyond the installation.

It takes what the kernel offers without privileges, user namespaces and Landlock, and says what it got. It narrows
what a defense can reach; it does not make hostile code safe.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import Final, final

from simulator.system.landlock import Ruleset
from simulator.system.readable import IsPrivate, Readable

_NEW_USER, _NEW_NETWORK, _NEW_MOUNTS = 0x10000000, 0x40000000, 0x00020000  # of Linux's sched.h
_RECURSIVE, _PRIVATE = 1 << 14, 1 << 18  # of its mount.h
_DEVICES: Final = ("/dev/full", "/dev/null", "/dev/random", "/dev/shm", "/dev/tty", "/dev/urandom", "/dev/zero")

#: how many forks restrict themselves to one ruleset: each adds a rule for its own folder
_MOST_FORKS: Final = 100


@final
class Confinement:
    """What forks of this process confine themselves to: found here, once, because it is hundreds of paths."""

    def __init__(self, is_private: IsPrivate) -> None:
        self._is_private = is_private
        self._found: Readable | None = None
        self._ruleset: Ruleset | None = None
        self._forks = 0

    @property
    def descriptor(self) -> int:
        """The file descriptor that a fork needs for `confine`; -1 for none."""
        return -1 if self._ruleset is None else self._ruleset.descriptor

    def make_ready(self, modules: Iterable[str], hidden: Iterable[Path], folders: Iterable[str] = ()) -> None:
        """Look at what there is now; the ruleset is made anew only when that is not what was there before.

        A fork may read the installation, the folders from which `modules` and others are imported, and `folders`, but
        nothing there that is `hidden` or `is_private` or has a name that begins with a dot.
        """
        found = Readable.now([*_homes(modules), *folders], hidden, self._is_private)
        self._forks += 1
        if self._ruleset is not None and found == self._found and self._forks <= _MOST_FORKS:
            return
        self.close()
        self._ruleset = Ruleset.made()
        if self._ruleset is not None:
            self._ruleset.allow(read=found.read_paths, listed=found.listed_paths)
        self._found, self._forks = found, 1

    def confine(self, scratch: Path) -> str:
        """Confine this process, a fork of one thread; return what it cannot do any more, in words.

        It may write in `scratch`.
        """
        offline = _without_network()
        closed = False
        if self._ruleset is not None:  # only now: /dev/shm is this process's own
            self._ruleset.allow(write=[scratch, *map(Path, _DEVICES)])
            closed = self._ruleset.restrict()
            self._ruleset.close()
        said = [words for words, got in (("no network", offline), ("no files beyond the installation", closed)) if got]
        return ", ".join(said) or "not confined: this system offers neither Landlock nor user namespaces"

    def close(self) -> None:
        """Let go of the ruleset; the next time, it is made anew."""
        if self._ruleset is not None:
            self._ruleset.close()
        self._ruleset = self._found = None


def _without_network() -> bool:
    """Move to a network of this process's own, in which there is nothing, and to shared memory of its own."""
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.unshare(_NEW_USER | _NEW_NETWORK | _NEW_MOUNTS) != 0:
            return False
    except AttributeError:  # not Linux
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with suppress(OSError):
            Path("/proc/self", name).write_text(text)
    # what is left in shared memory goes with the last process that sees it
    libc.mount(None, b"/", None, _RECURSIVE | _PRIVATE, None)
    libc.mount(b"none", b"/dev/shm", b"tmpfs", 0, None)
    return True


def _homes(modules: Iterable[str]) -> Iterator[str]:
    """Yield the folder that holds each module or package: an editable installation does not put it on the path."""
    modules = list(modules)
    if any(module.partition(".")[0] not in sys.modules for module in modules):
        invalidate_caches()  # its file may have been written just now
    for module in modules:
        with suppress(ImportError, ValueError, AttributeError):
            spec = find_spec(module.partition(".")[0])
            if spec is not None and spec.submodule_search_locations:
                yield from (str(Path(place).parent) for place in spec.submodule_search_locations)
            elif spec is not None and spec.origin:
                yield str(Path(spec.origin).parent)
