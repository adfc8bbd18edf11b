"""Who may import whom. The design's house stands or falls with these."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("simulator", "flows", "ebbdoor", "defenses", "benchmarks")
FILES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

#: package that is imported -> the only places that may: folders or files
ONLY_IN = {
    "mlflow": ("simulator/production/registry",),
    "evidently": ("simulator/production/monitors/evidently_report.py",),
    "prefect": ("flows",),
    "ray": ("flows/studies/ray.py",),
    "avalanche": ("benchmarks/peers/avalanche.py",),
}
#: ways to run what a file says while reading it
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"torch.load", "torch.save", "numpy.save", "np.save"}
#: the one file that may read a pickle: a person said so, and it runs in the confined process of a defense's call
UNPICKLES = Path("simulator/production/auditing/unpickled.py")


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a file, at any depth."""
    return tuple(ast.walk(ast.parse((ROOT / path).read_text("utf-8"))))


def imports(path: Path) -> Iterator[str]:
    """Every module that `path` imports, at any depth, as a dotted name; also by a literal `import_module("...")`."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: expected absolute imports, got a relative one in line {node.lineno}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def below(path: Path, *places: str) -> bool:
    return any(path == Path(place) or Path(place) in path.parents for place in places)


def offenders(among: list[Path], forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{path}: {name}"
        for path in among
        for name in imports(path)
        if any(within(name, module) for module in forbidden)
    ]


def test_the_rules_see_the_files() -> None:
    assert Path("simulator/records.py") in FILES
    assert "torch" in {name.partition(".")[0] for name in imports(Path("defenses/context.py"))}


def test_defenses_import_nothing_of_ours() -> None:
    among = [path for path in FILES if below(path, "defenses")]
    assert offenders(among, ("simulator", "flows")) == []


def test_simulator_imports_only_the_contract_of_defenses() -> None:
    among = [path for path in FILES if below(path, "simulator")]
    assert [
        found for found in offenders(among, ("defenses",)) if not within(found.split(": ")[1], "defenses.base")
    ] == []


def test_simulator_never_imports_flows() -> None:
    assert offenders([path for path in FILES if below(path, "simulator")], ("flows",)) == []


def test_production_imports_neither_world_nor_observer() -> None:
    among = [path for path in FILES if below(path, "simulator/production")]
    assert offenders(among, ("simulator.world", "simulator.observer")) == []


def test_world_imports_neither_production_nor_observer() -> None:
    among = [path for path in FILES if below(path, "simulator/world")]
    assert offenders(among, ("simulator.production", "simulator.observer")) == []


@pytest.mark.parametrize("module", ONLY_IN)
def test_heavy_package_is_imported_in_one_place_only(module: str) -> None:
    places = ONLY_IN[module]
    assert offenders([path for path in FILES if not below(path, *places)], (module,)) == []
    inside = [path for path in FILES if below(path, *places)]
    assert offenders(inside, (module,)), f"nothing imports {module} any more: drop the rule"


def test_nothing_is_pickled() -> None:
    assert offenders(FILES, tuple(UNSAFE_MODULES)) == []
    for path in FILES:
        calls = [node for node in nodes(path) if isinstance(node, ast.Call)]
        allowed = {"torch.load"} if path == UNPICKLES else set()
        found = {ast.unparse(call.func) for call in calls} & (UNSAFE_CALLS - allowed)
        assert not found, f"{path}: expected safetensors or JSON, got {found}"
        allowing = [key.arg for call in calls for key in call.keywords if key.arg == "allow_pickle"]
        refusing = [
            key.value.value
            for call in calls
            for key in call.keywords
            if key.arg == "allow_pickle" and isinstance(key.value, ast.Constant)
        ]
        assert refusing == [False] * len(allowing), f"{path}: expected allow_pickle=False, got another value"


def test_importing_the_packages_loads_no_heavy_one() -> None:
    code = """
import sys
import defenses, simulator
import simulator.scenario.catalog, simulator.checks, simulator.scenario.load, defenses.base
print(sorted({name.partition(".")[0] for name in sys.modules} & {"mlflow", "evidently", "prefect"}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_docker_folder_is_no_package() -> None:
    assert list((ROOT / "docker").rglob("__init__.py")) == []


def test_test_files_are_not_packages() -> None:
    assert [path for path in (ROOT / "tests").rglob("__init__.py") if "plugin_package" not in path.parts] == []
