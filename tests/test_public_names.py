"""A name without a leading underscore is public, and a public function or class says what it is."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("simulator", "flows", "ebbdoor", "defenses", "benchmarks")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def undocumented(path: Path) -> list[str]:
    """The public functions and classes at the top of a module that have no docstring."""
    tops = [node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, Documented)]
    return [node.name for node in tops if not node.name.startswith("_") and ast.get_docstring(node) is None]


def test_public_names_are_documented() -> None:
    assert len(FILES) > 300
    assert {str(path.relative_to(ROOT)): found for path in FILES if (found := undocumented(path))} == {}


def test_only_packages_list_their_names() -> None:
    """`__all__` stands where names of other modules are handed on, and nowhere else."""
    listing = [str(path.relative_to(ROOT)) for path in FILES if "__all__" in path.read_text("utf-8")]
    assert [path for path in listing if not path.endswith("__init__.py")] == []
