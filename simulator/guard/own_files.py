"""Which modules a third-party plug-in consists of: its own, and what that imports from the user's own folders.

A user's own file is one outside the standard library, installed distributions and ebbdoor; an editable install is one
too. Imports are read from the source, wherever in it they stand, so an import inside a function counts before it is
made. Files that a module opens as data are not seen.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

_ROOT = Path(__file__).parents[2]
_OURS = ("simulator", "flows", "defenses")
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True, slots=True)
class Code:
    """What a plug-in consists of: the user's own files by module name, and the other packages that they import."""

    files: dict[str, Path]
    packages: frozenset[str]


def code_of_module(name: str) -> Code:
    """Return what the module `name` consists of; its own file counts wherever it lies, but for ebbdoor's."""
    files: dict[str, Path] = {}
    packages: set[str] = set()
    waiting, seen = list(_with_parents(name)), set[str]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        file = file_of(one)
        if file is None or is_ours(file):
            continue
        if is_users(file):
            files[one] = file
            waiting += _imported_by(one, file)
        elif not is_standard(file):
            packages.add(one.partition(".")[0])
            if one == name:
                files[one] = file
    return Code(dict(sorted(files.items())), frozenset(packages))


def is_ours(file: Path) -> bool:
    """Whether a file is ebbdoor's."""
    return file.is_relative_to(_ROOT) and file.relative_to(_ROOT).parts[0] in _OURS


def is_loaded_from_ours(name: str) -> bool:
    """Whether a loaded module's file is ebbdoor's."""
    file = file_of(name)
    return file is not None and is_ours(file)


def is_users(file: Path) -> bool:
    """Whether a file is the user's own: neither ebbdoor's, nor installed, nor of the standard library."""
    return not (is_ours(file) or _INSTALLED & set(file.parts) or is_standard(file))


def is_standard(file: Path) -> bool:
    """Whether a file is of the standard library."""
    return not _INSTALLED & set(file.parts) and any(file.is_relative_to(folder) for folder in _standard_folders())


@cache
def _standard_folders() -> tuple[Path, ...]:
    return tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")})


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def file_of(name: str) -> Path | None:
    """Return the file of a module, loaded or not, without importing anything; None where it has none."""
    loaded = sys.modules.get(name)
    found = getattr(loaded, "__file__", None)
    if loaded is None and name.partition(".")[0] not in sys.stdlib_module_names:
        spec = _spec_of(name)
        found = None if spec is None or not spec.has_location else spec.origin
    return None if found is None else Path(found).resolve()


def _spec_of(name: str) -> importlib.machinery.ModuleSpec | None:
    parent, _, _ = name.rpartition(".")
    try:
        if not parent:
            return importlib.util.find_spec(name)
        places = getattr(sys.modules.get(parent), "__path__", None)
        if places is None:
            spec = _spec_of(parent)
            places = None if spec is None else spec.submodule_search_locations
        return None if places is None else PathFinder.find_spec(name, list(places))
    except (ImportError, ValueError, AttributeError):  # a module without a spec, a damaged folder
        return None


def _imported_by(name: str, file: Path) -> list[str]:
    """Return the names that a user's module imports, with their parents; names that are no modules are harmless."""
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    found = {one for node in _nodes(file) for one in _names_in(node, package)}
    found |= {value.__name__ for value in vars(sys.modules.get(name, ModuleType(""))).values() if _is_module(value)}
    return sorted({each for one in found if one for each in _with_parents(one)})


def _nodes(file: Path) -> Iterator[ast.AST]:
    try:
        return ast.walk(ast.parse(file.read_bytes()))
    except (OSError, SyntaxError, ValueError, RecursionError):  # an extension module, or a file that is not imported
        return iter(())


def _names_in(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute("." * node.level + (node.module or ""), package)
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        yield from (_absolute(text, package) for text in texts[:1])


def _absolute(name: str, package: str) -> str:
    level = len(name) - len(name.lstrip("."))
    if level == 0:
        return name
    parts = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*parts, *filter(None, [name[level:]])])


def _is_module(value: object) -> bool:
    return isinstance(value, ModuleType) and isinstance(getattr(value, "__name__", None), str)
