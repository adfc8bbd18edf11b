"""Two hundred periods: memory and processor time per period stay where they were. Prints what it measured."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

_found = importlib.util.spec_from_file_location("long_run_for_tests", Path(__file__).with_name("long_run.py"))
assert _found is not None
assert _found.loader is not None
long_run = importlib.util.module_from_spec(_found)
sys.modules[_found.name] = long_run
_found.loader.exec_module(long_run)


@pytest.mark.parametrize("monitor", ["mmd", "evidently"])
def test_two_hundred_periods_grow_nothing_but_the_stores(tmp_path: Path, monitor: str) -> None:
    samples = long_run.measure(tmp_path, long_run.scenario(200, monitor))
    found = long_run.grown(samples)
    print(found)  # noqa: T201
    assert [sample.period for sample in samples] == list(range(201))
    assert found.parent <= 1.1
    assert found.workers <= 1.1
    # Processor seconds, for this machine may have other things to do; those of a busy one vary by some tenths.
    assert found.busy <= 1.3
    assert samples[-1].record < 30_000  # what a fresh process needs to know grows with the history, by bytes a period


def test_growth_is_measured_from_the_settled_periods_on() -> None:
    def sample(period: int) -> object:
        parent = 50 if period < long_run.WARM else 100 + (period == 70) * 40
        return long_run.Sample(period, 1.0, 1.0 + (period >= 61), parent, 200, 1000 + 10 * period, 5 * period, 7)

    found = long_run.grown([sample(period) for period in range(101)])
    assert (found.parent, found.workers, found.time, found.busy) == (1.4, 1.0, 1.0, 2.0)
    assert (found.database, found.artifacts) == (10.0, 5.0)
