"""What policies refuse, and in which words."""

from __future__ import annotations

import pytest

from simulator.production.policy import EveryPeriod, OnAlarm, Scripted


@pytest.mark.parametrize(
    ("policy", "options", "words"),
    [
        (EveryPeriod, {"every": 0}, r"expected every to be at least 1, got 0; raise it"),
        (OnAlarm, {"patience": 0}, r"expected patience to be at least 1, got 0; raise it"),
        (OnAlarm, {"cooldown": -1}, r"expected cooldown to be at least 0, got -1; raise it"),
        (OnAlarm, {"at_most": 0}, r"expected at_most to be above cooldown \(0\), got 0; raise it, or leave it out"),
        (OnAlarm, {"cooldown": 3, "at_most": 3}, r"expected at_most to be above cooldown \(3\), got 3"),
        (Scripted, {"periods": (2, 0)}, r"expected periods\.1 to be at least 1, got 0; raise it"),
    ],
)
def test_options_out_of_range(policy, options, words):
    with pytest.raises(ValueError, match=words):
        policy(**options)
