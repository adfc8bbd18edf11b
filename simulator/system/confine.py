"""Confining a process before it runs a stranger's code: no network, no reading beyond the installation.

It takes what the kernel offers without privileges, user namespaces and Landlock, and says what it got. It narrows
what a defense can reach; it does not make hostile code safe.
"""

from __future__ import annotations

import ctypes
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from simulator.system.landlock import restrict

_NEW_USER, _NEW_NETWORK, _NEW_MOUNTS = 0x10000000, 0x40000000, 0x00020000  # of Linux's sched.h
_RECURSIVE, _PRIVATE = 1 << 14, 1 << 18  # of its mount.h
#: what programs and libraries of the system read
_SYSTEM: Final = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/proc", "/sys", "/etc/alternatives", "/etc/fonts",
    "/etc/group", "/etc/hosts", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime",
    "/etc/nsswitch.conf", "/etc/os-release", "/etc/passwd", "/etc/ssl", "/etc/timezone",
)  # fmt: skip
#: found once: a fork of the process that has imported this module need not read Python's build settings again
_INSTALLED: Final = frozenset(
    Path(path).resolve() for path in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())
)
_DEVICES: Final = ("/dev/full", "/dev/null", "/dev/random", "/dev/shm", "/dev/tty", "/dev/urandom", "/dev/zero")


def confine(
    *, scratch: Path, modules: Iterable[str], hidden: Iterable[Path], is_private: Callable[[Path], bool]
) -> str:
    """Confine this process, which must have one thread; return what it cannot do any more, in words.

    It may write in `scratch`, and read besides the installation the folders from which `modules` and others are
    imported, but nothing there that is `hidden` or `is_private` or has a name that begins with a dot.
    """
    offline = _without_network()
    read, listed = _readable(modules, {path.resolve() for path in hidden}, is_private)
    closed = restrict(read=read, listed=listed, write=[scratch, *map(Path, _DEVICES)])
    said = [words for words, got in (("no network", offline), ("no files beyond the installation", closed)) if got]
    return ", ".join(said) or "not confined: this system offers neither Landlock nor user namespaces"


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


def _readable(
    modules: Iterable[str], hidden: set[Path], is_private: Callable[[Path], bool]
) -> tuple[list[Path], list[Path]]:
    """Return what may be read with all below, and the folders of which only the names may be."""
    libraries = filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))
    read = [*_INSTALLED, *map(Path, (*_SYSTEM, *libraries))]
    listed = []
    for folder in {Path(path or ".").resolve() for path in (*sys.path, *_homes(modules))}:
        if any(folder == one or one in folder.parents for one in _INSTALLED):
            continue
        if not folder.is_dir():
            read.append(folder)
            continue
        listed.append(folder)
        with suppress(OSError):
            read += [one for one in _shown(folder, hidden) if not is_private(one)]
    return read, listed


def _shown(folder: Path, hidden: set[Path]) -> list[Path]:
    """Return what lies in the resolved `folder` and may be read."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if not entry.name.startswith(".") and (path.resolve() if entry.is_symlink() else path) not in hidden:
                found.append(path)
    return found


def _homes(modules: Iterable[str]) -> Iterator[str]:
    """Yield the folder that holds each module or package: an editable installation does not put it on the path."""
    for module in modules:
        with suppress(ImportError, ValueError, AttributeError):
            spec = find_spec(module.partition(".")[0])
            if spec is not None and spec.submodule_search_locations:
                yield from (str(Path(place).parent) for place in spec.submodule_search_locations)
            elif spec is not None and spec.origin:
                yield str(Path(spec.origin).parent)
