"""The public API is what `__all__` reaches: sorted, without repeats, and all there."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("simulator", "flows", "defenses", "benchmarks")


def modules() -> list[str]:
    """Every module that defines `__all__`."""
    found = []
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        if any(isinstance(node, ast.Assign) and _names(node) == ["__all__"] for node in tree.body):
            found.append(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    return found


def _names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _order(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions, each by the alphabet: the order ruff keeps."""
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name


def faults(name: str) -> list[str]:
    """What is wrong with the public names of a module."""
    module = import_module(name)
    public = list(module.__all__)
    found = [] if public == sorted(set(public), key=_order) else ["not sorted, or named twice"]
    found += [f"{item} is not there" for item in public if not hasattr(module, item)]
    return found + [f"{item} has no docstring" for item in public if _undocumented(getattr(module, item, None))]


def _undocumented(value: object) -> bool:
    ours = getattr(value, "__module__", "").partition(".")[0] in PACKAGES
    return callable(value) and ours and not value.__doc__


def test_public_names_are_sorted_there_and_documented() -> None:
    names = modules()
    assert "simulator.records" in names
    assert {name: found for name in names if (found := faults(name))} == {}
