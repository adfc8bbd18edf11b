"""The public API is what `__all__` reaches: sorted, without repeats, and all there."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

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


def test_there_are_modules_to_look_at() -> None:
    assert "simulator.records" in modules()


@pytest.mark.parametrize("name", modules())
def test_public_names_are_sorted_and_there(name: str) -> None:
    module = import_module(name)
    public = list(module.__all__)
    assert public == sorted(set(public), key=_order)
    missing = [item for item in public if not hasattr(module, item)]
    assert missing == []


@pytest.mark.parametrize("name", modules())
def test_public_names_are_documented_and_of_this_package(name: str) -> None:
    module = import_module(name)
    bare = [
        item
        for item in module.__all__
        if callable(getattr(module, item))
        and getattr(getattr(module, item), "__module__", "").partition(".")[0] in PACKAGES
        and not getattr(module, item).__doc__
    ]
    assert bare == []
