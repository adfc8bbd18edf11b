"""The environment of a child process: it finds the modules, the servers and the encoding that its parent has.

Every process that ebbdoor starts gets its environment here, so that a scenario means the same in all of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from simulator.system.numerics import with_numerics

if TYPE_CHECKING:
    from simulator.records import Numerics

#: where `simulator`, `flows` and `defenses` are installed
_ROOT: Final = str(Path(__file__).resolve().parents[2])

#: hosts of this machine, whose servers no proxy reaches
_LOCAL: Final = ("127.0.0.1", "localhost", "::1")


def child_environment(environment: Mapping[str, str] | None = None, numerics: Numerics | None = None) -> dict[str, str]:
    """Return `environment` (by default this process's) for a child process of ours.

    It finds modules where this process does, in the same order, so that `module:Name` means the same in both. Its
    working directory is not put first (`PYTHONSAFEPATH`), and ebbdoor's own packages come before the working directory:
    a user's `flows.py` there must not be taken for ours. What it prints never fails for want of a character.
    `numerics`: how it computes; None for as `environment` says.
    """
    found = with_numerics(os.environ if environment is None else environment, numerics)
    encoding = found.get("PYTHONIOENCODING", "").partition(":")[0] or "utf-8"
    found |= {
        "PYTHONPATH": os.pathsep.join(_folders()),
        "PYTHONSAFEPATH": "1",
        "PYTHONIOENCODING": f"{encoding}:replace",
    }
    spare_local_servers(found)
    return found


def spare_local_servers(environment: MutableMapping[str, str]) -> None:
    """Have clients reach servers of this machine directly where the user has set a proxy: it cannot reach them."""
    if not any(environment.get(name) for base in ("http", "https", "all") for name in _cases(f"{base}_proxy")):
        return
    given = ",".join(filter(None, (environment.get(name) for name in _cases("no_proxy"))))
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    spared = hosts if "*" in hosts else list(dict.fromkeys([*hosts, *_LOCAL]))
    for name in _cases("no_proxy"):
        environment[name] = ",".join(spared)


def print_anything() -> None:
    """Have this process print a `?` for a character that its output's encoding lacks, rather than end."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a test or a host program has put something else
            stream.reconfigure(errors="replace")


def _folders() -> list[str]:
    """`sys.path`, where an editable installation is not in it with its folder before the working directory."""
    here = os.getcwd()
    folders = [folder or here for folder in sys.path]
    if _ROOT in folders:
        return folders
    at = folders.index(here) if here in folders else len(folders)
    return [*folders[:at], _ROOT, *folders[at:]]


def _cases(name: str) -> tuple[str, str]:
    return name, name.upper()
