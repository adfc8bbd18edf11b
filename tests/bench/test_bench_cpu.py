"""CPU seconds with imports told apart: modules that take a known time to import, work that takes a known time."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.bench.cpu import CpuClock

BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


def burn(seconds: float) -> None:
    exec(BURN.format(seconds=seconds), {})


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to import from; `outer_NAME` imports `inner_NAME`, and each takes a tenth of a second."""
    for name in ("one", "two"):
        (tmp_path / f"bench_outer_{name}.py").write_text(BURN.format(seconds=0.1) + f"import bench_inner_{name}\n")
        (tmp_path / f"bench_inner_{name}.py").write_text(BURN.format(seconds=0.1))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return tmp_path


def test_imports_are_counted_once_however_they_are_written(modules: Path) -> None:
    with CpuClock() as clock:
        burn(0.1)
        import bench_outer_one  # noqa: F401

        importlib.import_module("bench_outer_two")
        importlib.import_module("bench_outer_two")  # it is there already
        read = clock.read()
    assert 0.38 < read["import_cpu_seconds"] < 0.6
    assert 0.09 < read["cpu_seconds"] < 0.3
    assert read["wall_seconds"] >= 0.45


def test_an_import_that_fails_is_counted_and_raises(modules: Path) -> None:
    (modules / "bench_broken.py").write_text(BURN.format(seconds=0.1) + "raise RuntimeError('broken')\n")
    importlib.invalidate_caches()
    with CpuClock() as clock:
        with pytest.raises(RuntimeError, match="broken"):
            importlib.import_module("bench_broken")
        assert clock.import_seconds > 0.08


def test_children_that_have_ended_are_work() -> None:
    with CpuClock() as clock:
        subprocess.run([sys.executable, "-S", "-c", BURN.format(seconds=0.2)], check=True)
        assert clock.work_seconds > 0.19


def test_afterwards_nothing_is_hooked(modules: Path) -> None:
    before = importlib._bootstrap._find_and_load  # type: ignore[attr-defined]
    with CpuClock() as clock:
        assert importlib._bootstrap._find_and_load is not before  # type: ignore[attr-defined]
    assert importlib._bootstrap._find_and_load is before  # type: ignore[attr-defined]
    importlib.import_module("bench_outer_one")
    assert clock.import_seconds == 0
