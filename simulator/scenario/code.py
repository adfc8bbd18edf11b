"""Digests of what third-party plug-ins consist of: files by name, and versions of installed packages.

A module's digests are taken when it is imported and kept while it is loaded: a file that is edited afterwards does not
change the code that runs here.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from simulator.guard import own_files
from simulator.scenario.folders import MOST_FILES, folder_digest

#: digest or version by name: `parts.py`, `package scikit-learn`, `file trigger.png`, `folder patterns`
Digests = dict[str, str]

#: begins the name of a folder that an option names
FOLDER = "folder "

#: packages whose versions the environment of a result holds anyway
_KNOWN = {"ebbdoor", "numpy", "torch", "torchvision"}

_taken: dict[str, tuple[Any, Digests]] = {}


def take(module: str) -> Digests:
    """Return the digests of what the module `module` consists of, as they were when first taken since it is loaded."""
    loaded = sys.modules.get(module)
    if loaded is None:
        return dict(_digests_of(module))
    if module not in _taken or _taken[module][0] is not loaded:
        _taken[module] = loaded, dict(_digests_of(module))
    return dict(_taken[module][1])


def files_named_in(options: Mapping[str, Any]) -> Digests:
    """Return the digests of the files and folders that options name: texts that are the path of one.

    Raises `ScenarioError` for a folder that holds too much to be read again before every training.
    """
    found = {}
    for text in _texts(options.values()):
        path = _path(text)
        if path is not None and path.is_file():
            found[f"file {text}"] = _digest(path)
        elif path is not None and path.is_dir():
            found[FOLDER + text] = folder_digest(path, digest=_digest)
    return found


def package_version(package: str) -> str:
    """Return the version of an installed package; empty where it has none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def distributions_of(package: str) -> list[str]:
    """Return the names of the distributions that hold what is imported as `package`: of `sklearn` scikit-learn."""
    return [package] if package_version(package) else _distributions().get(package, [])


def _digests_of(module: str) -> Iterator[tuple[str, str]]:
    code = own_files.code_of_module(module)
    for name, file in code.files.items():
        yield _shown(name, file), _digest(file)
    for top in sorted(code.packages - _KNOWN):
        for package in distributions_of(top):
            yield f"package {package}", package_version(package)
    if not code.files and not own_files.is_loaded_from_ebbdoor(module):
        yield f"module {module}", ""  # made while a program runs: it has no file


def _shown(name: str, file: Path) -> str:
    """A module's file below the folder that its package is imported from: the same on every machine."""
    inside = name.replace(".", "/")
    return f"{inside}/{file.name}" if file.stem == "__init__" else f"{inside}{file.suffix}"


def _digest(path: Path) -> str:
    about = path.stat()
    return _digest_as_of(path.resolve(), (about.st_mtime_ns, about.st_size, about.st_ino))


@lru_cache(maxsize=2 * MOST_FILES)  # a folder's files are read once each, not once a period
def _digest_as_of(path: Path, about: tuple[int, int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _distributions() -> Mapping[str, list[str]]:
    return {top: sorted(set(names)) for top, names in metadata.packages_distributions().items()}


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _texts(value.values())
        elif isinstance(value, list | tuple):
            yield from _texts(value)


def _path(text: str) -> Path | None:
    if not any(map(str.isalnum, text)):  # a dot or a slash is rarely meant as the folder that it is
        return None
    try:
        path = Path(text).expanduser()
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):  # a text that cannot be a path
        return None
