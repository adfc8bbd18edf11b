"""What tests of the programs in this folder share: the programs are files beside them, not a package."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def beside(name: str) -> Any:
    """Return the program `name`.py as a module, for tests that need it before any fixture."""
    found = importlib.util.spec_from_file_location(f"{name}_beside_its_tests", HERE / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """The programs import each other by name."""
    sys.path.insert(0, str(HERE))
    yield
    sys.path.remove(str(HERE))
