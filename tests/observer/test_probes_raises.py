"""Probe options out of range."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.errors import PluginError
from simulator.scenario import catalog


@pytest.mark.parametrize(
    ("probe", "options", "message"),
    [
        ("dose", {"images": 0}, "expected images to be at least 1, got 0"),
        ("dose", {"halvings": 21}, "expected halvings to be at most 20, got 21; lower it"),
        ("relearning", {"poisoned": 0}, "expected poisoned to be at least 1, got 0; raise it"),
        ("relearning", {"epochs": 0}, "expected epochs to be at least 1, got 0"),
        ("relearning", {"draws": 0}, "expected draws to be at least 1, got 0"),
        ("relearning", {"rate": 0.0}, "expected rate to be above 0"),
        ("relearning", {"when": "sometimes"}, "expected when to be 'every' or 'milestones'"),
        ("dose", {"when": "never"}, "expected when to be 'every' or 'milestones'"),
        ("relearning-curve", {"counts": []}, r"expected counts to grow from at least 1, got \[\]"),
        ("relearning-curve", {"counts": [0, 5]}, r"expected counts to grow from at least 1, got \[0, 5\]"),
        ("relearning-curve", {"counts": [5, 2]}, r"expected counts to grow from at least 1, got \[5, 2\]"),
        ("relearning-curve", {"poisoned": 0}, "expected poisoned to be at least 1, got 0"),
        ("relearning-curve", {"every": 0}, "expected every to be at least 1, got 0"),
        ("relearning-curve", {"rate": -0.1}, "expected rate to be above 0.0, got -0.1"),
        ("reactivation", {"size": 0.0}, "expected size to be above 0.0, got 0.0"),
        ("reactivation", {"size": 1.5}, "expected size to be at most 1.0, got 1.5"),
        ("reactivation", {"rate": 0.0}, "expected rate to be above 0.0, got 0.0"),
        ("reactivation", {"steps": 0}, "expected steps to be at least 1, got 0"),
        ("existence", {"images": 1}, "expected images to be at least 2, got 1"),
        ("existence", {"shares": []}, r"expected shares to be at least 1 long, got \[\]; add one"),
        ("existence", {"shares": [0.5, 1.2]}, r"expected shares\.1 to be at most 1.0, got 1.2; lower it"),
        ("linear-path", {"points": 0}, "expected points to be at least 1, got 0"),
        ("linear-path", {"beyond": -0.5}, "expected beyond to be at least 0.0, got -0.5"),
        ("gradient-cosine", {"images": 0}, "expected images to be at least 1, got 0"),
        ("gradient-cosine", {"when": "milestone"}, "expected when to be 'every' or 'milestones'"),
        ("dose", {"image": 5}, "did you mean 'images'"),
    ],
)
def test_bad_options(probe: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        catalog.build("probes", probe, options)
