"""The example in the docstring of every shipped plug-in works."""

from __future__ import annotations

import doctest
import sys

import pytest

from simulator.scenario import catalog

KINDS = ("gates", "monitors", "networks", "optimizers", "policies", "probes", "schedules")


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in catalog.names(kind)])
def test_example_works(kind: str, name: str) -> None:
    member = catalog.resolve(kind, name)
    names = dict(vars(sys.modules[member.__module__]))
    found = doctest.DocTestFinder(recurse=False).find(member, name, globs=names)
    examples = sum(len(each.examples) for each in found)
    results = [doctest.DocTestRunner().run(each) for each in found]
    assert examples > 0, "expected an example in its docstring, got none; show what it gives"
    assert sum(result.failed for result in results) == 0
