"""The costly readings are taken where the first erasure of an arm may begin, and on its last version."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from simulator.observer.milestones import is_milestone
from simulator.production.registry.base import Entry

MakeEntry = Callable[..., Entry]


@pytest.mark.parametrize(
    ("nets", "expected"),
    [
        # planted at 0.5 or more, erased below 0.5; a version without a reading is neither
        pytest.param([0.9, 0.4], True, id="first below the threshold"),
        pytest.param([0.5, 0.49], True, id="planted exactly at the threshold"),
        pytest.param([0.9, 0.5], False, id="still alive exactly at the threshold"),
        pytest.param([0.9, 0.8], False, id="still alive"),
        pytest.param([0.4], False, id="no version before it"),
        pytest.param([0.4, 0.3], False, id="never planted"),
        pytest.param([None, 0.3], False, id="never read"),
        pytest.param([0.9, 0.4, 0.3], False, id="erased before"),
        pytest.param([0.9, 0.4, 0.9, 0.3], True, id="one period below before was no erasure"),
        pytest.param([0.9, 0.4, 0.3, 0.9, 0.3], False, id="erased before and come back since"),
        pytest.param([0.9, 0.4, None, 0.3], True, id="erased before only if the gap was below"),
        pytest.param([0.9, None, 0.3, 0.2], False, id="erased by the period before at the latest"),
        pytest.param([0.1, 0.9, 0.3], True, id="below before it was planted"),
        pytest.param([0.9, None, 0.3], True, id="not read in between"),
        pytest.param([0.9, None], False, id="not read now"),
    ],
)
def test_a_period_that_the_first_erasure_may_begin_with_is_a_milestone(
    entry: MakeEntry, nets: Sequence[float | None], expected: bool
) -> None:
    # the raw attack success does not count where there is a net one
    *past, now = [entry(period, net=net, success=net).record for period, net in enumerate(nets)]
    assert is_milestone(past, now.readings, now.period, last=9) is expected


@pytest.mark.parametrize(
    ("net", "success", "expected"),
    [
        pytest.param([0.9, 0.1], [0.9, 0.8], True, id="net success fell"),
        pytest.param([0.9, 0.8], [0.9, 0.1], False, id="raw success alone fell"),
        pytest.param([None, None], [0.9, 0.1], True, id="without a twin the raw one decides"),
    ],
)
def test_net_success_decides_and_without_a_twin_the_raw_one(
    entry: MakeEntry, net: Sequence[float | None], success: Sequence[float], expected: bool
) -> None:
    before, now = [entry(period, net=net[period], success=success[period]).record for period in range(2)]
    assert is_milestone([before], now.readings, 1, last=9) is expected


def test_the_last_version_is_a_milestone_whatever_is_read() -> None:
    assert is_milestone([], {}, 9, last=9)
    assert not is_milestone([], {}, 8, last=9)
