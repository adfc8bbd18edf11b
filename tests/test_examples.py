"""Every example in a docstring runs, and every plug-in that ships has one."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module
from pathlib import Path

import pytest

from simulator.scenario.catalog import KINDS, names, resolve

ROOT = Path(__file__).parent.parent
PLUGINS = [
    f"{kind} {name}"
    for kind in KINDS
    for name, value in names(kind).items()
    if value.startswith(("simulator.", "defenses."))
]


def with_examples() -> list[str]:
    """Every module of ours whose text holds an example."""
    files = sorted(path for package in ("simulator", "flows", "defenses") for path in (ROOT / package).rglob("*.py"))
    found = [path.relative_to(ROOT).with_suffix("").parts for path in files if ">>> " in path.read_text("utf-8")]
    return [".".join(parts).removesuffix(".__init__") for parts in found]


@pytest.mark.parametrize("plugin", PLUGINS)
def test_every_plug_in_shows_an_example(plugin: str) -> None:
    member = resolve(*plugin.split(" "))
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(member) or "")
    assert examples, "show in its docstring what it does, in a few lines that run"


@pytest.mark.parametrize("name", with_examples())
def test_every_example_runs_as_printed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = import_module(name)
    runner = doctest.DocTestRunner()
    failures: list[str] = []
    for found in doctest.DocTestFinder().find(module):
        runner.run(found, out=failures.append)
    assert runner.failures == 0, "".join(failures)
    assert runner.tries > 0
