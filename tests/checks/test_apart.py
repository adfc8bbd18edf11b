"""`ebbdoor check` runs a plug-in's code in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from simulator.checks import check
from simulator.checks.apart import check_apart
from simulator.errors import PluginError

#: a defense that says whether its process holds a secret, and ends it on request
PLUGIN = """
import os, torch
from defenses.base import Filter, FilterResult
assert "API_TOKEN" not in os.environ
class Mine(Filter):
    '''Keeps all rows.'''

    def filter(self, context):
        return FilterResult(torch.ones(len(context.window), dtype=torch.bool))
class Quits(Mine):
    def __init__(self):
        os._exit(0)
"""


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checked_apart.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_TOKEN", "s3cret")


def test_the_checks_are_those_of_the_kind_and_nothing_is_imported_here() -> None:
    found = check_apart("checked_apart:Mine")
    assert "checked_apart" not in sys.modules
    assert {one.name for one in found if not one.passed} == set()
    assert [one.name for one in found] == [one.name for one in check("defenses", "none")]


def test_a_plugin_that_ends_its_process_is_a_sentence() -> None:
    with pytest.raises(PluginError, match=r"^expected 'checked_apart:Quits' to be imported, .* \(exit status 0\)"):
        check_apart("checked_apart:Quits")


def test_what_is_wrong_is_said_as_before() -> None:
    with pytest.raises(PluginError, match="expected module 'checked_apart' to hold 'Nine', got none; did you mean 'Mi"):
        check_apart("checked_apart:Nine")
