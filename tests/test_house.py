"""The house: which part stands on which, how large a part may be, and that nothing imports upwards or in a circle."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("simulator", "flows", "defenses", "benchmarks")

#: from the ground up: a part imports only itself and what stands on a lower floor
FLOORS: tuple[tuple[str, ...], ...] = (
    ("simulator.batch", "simulator.errors", "simulator.records", "simulator.seeds", "simulator.theory",
     "defenses"),
    ("simulator.guard",),
    ("simulator.system", "simulator.scenario", "simulator.tensors", "simulator.validity"),
    ("simulator.world", "simulator.cache"),
    ("simulator.production",),
    ("simulator.observer", "simulator.preflight", "simulator.bench"),
    ("simulator.loop",),
    ("simulator.study", "simulator.checks", "simulator.calibration"),
    ("flows", "benchmarks"),
)  # fmt: skip

#: files of more than 400 lines, with the reason
LONG: dict[str, str] = {}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


@cache
def imports(name: str) -> frozenset[str]:
    """The modules of ours that a module imports, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in FILES}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & FILES.keys()) or ({node.module} & FILES.keys())
    return frozenset(found - {name})


def part_of(name: str) -> str:
    """The part of the house that a module belongs to."""
    return max((p for floor in FLOORS for p in floor if name == p or name.startswith(f"{p}.")), key=len, default="")


def test_nothing_imports_the_front_door() -> None:
    """`ebbdoor` hands names on to notebooks and stands on all else; nothing of ours imports it."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    names = [alias for path in files for alias in _imported(path)]
    assert [name for name in names if name.partition(".")[0] == "ebbdoor"] == []


def _imported(path: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module is not None]


def floor_of(part: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if part in floor)


def test_every_module_has_its_place() -> None:
    homeless = [name for name in FILES if not part_of(name) and name != "simulator"]
    assert homeless == [], "give it a place on a floor"


def test_nothing_imports_upwards_or_sideways() -> None:
    wrong = [
        f"{name} (floor {floor_of(part_of(name)) + 1}) imports {other} (floor {floor_of(part_of(other)) + 1})"
        for name in FILES
        if part_of(name)
        for other in imports(name)
        if part_of(other) and part_of(other) != part_of(name) and floor_of(part_of(other)) >= floor_of(part_of(name))
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter({name: imports(name) for name in FILES}).prepare()
    except CycleError as error:
        pytest.fail(f"expected no circle, got {' -> '.join(reversed(error.args[1]))}")


def test_the_house_has_few_floors_and_few_loose_files() -> None:
    assert len(FLOORS) <= 9
    loose = [path.name for path in (ROOT / "simulator").glob("*.py") if path.name != "__init__.py"]
    assert len(loose) <= 8


def test_no_file_is_too_short_or_too_long_to_hold_one_idea() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in FILES.items()}
    short = [f"{name}: {lines[name]}" for name, path in FILES.items() if path.stem != "__init__" and lines[name] < 25]
    assert short == [], "fold it into the file that uses it"
    assert [f"{name}: {count}" for name, count in lines.items() if count > 400 and name not in LONG] == []


def test_a_period_is_read_in_one_file() -> None:
    assert len(FILES["simulator.loop.period"].read_text("utf-8").splitlines()) <= 300
