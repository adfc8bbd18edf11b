"""Which modules a third-party plug-in consists of: its own, and what that imports from the user's own folders.

A user's own file is one outside the standard library, installed distributions and ebbdoor; an editable install is one
too. Imports are read from the source, wherever in it they stand, so an import inside a function counts before it is
made. Folders that a file adds to the import path are guessed from its texts. Files that a module opens
as data are not seen.
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
#: folders that one file may add to the import path, as far as they are looked into
_MOST_FOLDERS = 64
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
    waiting, seen, folders = list(_with_parents(name)), set[str](), list[Path]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        file = file_of(one) or _file_in(folders, one)
        if file is None or is_ebbdoor_file(file):
            continue
        if is_users_file(file):
            files[one] = file
            more = _folders_added_by(file)
            if more:  # what was not found may lie there
                folders += [folder for folder in more if folder not in folders]
                waiting += [name for name in seen if name not in files]
                seen &= files.keys()
            waiting += _imported_by(one, file)
        elif not is_standard(file):
            packages.add(one.partition(".")[0])
            if one == name:
                files[one] = file
    return Code(dict(sorted(files.items())), frozenset(packages))


def is_ebbdoor_file(file: Path) -> bool:
    """Whether a file is ebbdoor's."""
    return file.is_relative_to(_ROOT) and file.relative_to(_ROOT).parts[0] in _OURS


def is_loaded_from_ebbdoor(name: str) -> bool:
    """Whether a loaded module's file is ebbdoor's."""
    file = file_of(name)
    return file is not None and is_ebbdoor_file(file)


def is_users_file(file: Path) -> bool:
    """Whether a file is the user's own: neither ebbdoor's, nor installed, nor of the standard library."""
    return not (is_ebbdoor_file(file) or _INSTALLED & set(file.parts) or is_standard(file))


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


def _file_in(folders: list[Path], name: str) -> Path | None:
    """Return the file of a module that is not loaded and lies in a folder that a plug-in adds to the import path."""
    inside = Path(*name.split("."))
    tries = (folder / one for folder in folders for one in (inside.with_suffix(".py"), inside / "__init__.py"))
    return next((file.resolve() for file in tries if file.is_file()), None)


def _folders_added_by(file: Path) -> list[Path]:
    """Return the folders that a file may add to the import path, if it names `sys.path` at all.

    They are not known before it runs. So they are the file's own folder, the one above, and the folders below these and
    below the working folder that texts in the file name.
    """
    nodes = _nodes(file)
    if not {"sys.path", "site.addsitedir"} & {_dotted(node) for node in nodes}:
        return []
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    found = [file.parent, file.parent.parent]
    for _ in range(2):  # os.path.join(HERE, "a", "b") names two
        beside = [*found, Path.cwd()]
        found += [folder / text for folder in beside for text in sorted(texts) if _is_folder(folder / text)]
        found = list(dict.fromkeys(folder.resolve() for folder in found))[:_MOST_FOLDERS]
    return found


def _dotted(node: ast.AST) -> str:
    """`a.b` of an attribute of a name; else empty."""
    is_dotted = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    return f"{node.value.id}.{node.attr}" if is_dotted else ""  # type: ignore[attr-defined]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a text that cannot be a path
        return False


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
    nodes = _nodes(file)
    found = {one for node in nodes for one in _names_in(node, package)}
    found |= {value.__name__ for value in vars(sys.modules.get(name, ModuleType(""))).values() if _is_module(value)}
    return sorted({each for one in found if one for each in _with_parents(one)})


def _nodes(file: Path) -> list[ast.AST]:
    try:
        return list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, SyntaxError, ValueError, RecursionError):  # an extension module, or a file that is not imported
        return []


def _names_in(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute("." * node.level + (node.module or ""), package)
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
    elif isinstance(node, ast.Call) and _called(node.func).endswith(("import_module", "__import__")):
        texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        yield from (_absolute(text, package) for text in texts[:1])


def _called(function: ast.expr) -> str:
    """The last name of what is called; `ast.unparse` fails for a chain of a thousand calls."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _absolute(name: str, package: str) -> str:
    level = len(name) - len(name.lstrip("."))
    if level == 0:
        return name
    parts = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*parts, *filter(None, [name[level:]])])


def _is_module(value: object) -> bool:
    return isinstance(value, ModuleType) and isinstance(getattr(value, "__name__", None), str)
