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
        ("dose", {"halvings": 21}, r"expected halvings to be in \[0, 20\], got 21"),
        ("relearning", {"poisoned": 0}, "expected poisoned to be"),
        ("relearning", {"epochs": 0}, "expected epochs and draws to be at least 1, got 0 and 3"),
        ("relearning", {"draws": 0}, "expected epochs and draws to be at least 1, got 8 and 0"),
        ("relearning", {"rate": 0.0}, "expected rate to be above 0"),
        ("relearning", {"when": "sometimes"}, "expected when to be 'every' or 'milestones'"),
        ("dose", {"when": "never"}, "expected when to be 'every' or 'milestones'"),
        ("relearning-curve", {"counts": []}, r"expected counts to grow from at least 1, got \[\]"),
        ("relearning-curve", {"counts": [0, 5]}, r"expected counts to grow from at least 1, got \[0, 5\]"),
        ("relearning-curve", {"counts": [5, 2]}, r"expected counts to grow from at least 1, got \[5, 2\]"),
        ("relearning-curve", {"poisoned": 0}, "expected poisoned to be at least 1, got 0"),
        ("relearning-curve", {"every": 0}, "expected epochs, draws, every and images to be at least 1, got 8, 3, 0"),
        ("relearning-curve", {"rate": -0.1}, "expected rate to be above 0, got -0.1"),
        ("reactivation", {"size": 0.0}, r"expected size to be in \(0, 1\], got 0.0"),
        ("reactivation", {"size": 1.5}, r"expected size to be in \(0, 1\], got 1.5"),
        ("reactivation", {"rate": 0.0}, "expected rate to be above 0, got 0.0"),
        ("reactivation", {"steps": 0}, "expected steps, images and batch to be at least 1, got 0, 500 and 100"),
        ("existence", {"images": 1}, "expected images to be at least 2, got 1"),
        ("existence", {"shares": []}, r"expected shares to lie in \(0, 1\], got \[\]"),
        ("existence", {"shares": [0.5, 1.2]}, r"expected shares to lie in \(0, 1\], got \[0.5, 1.2\]"),
        ("linear-path", {"points": 0}, "expected points and images to be at least 1, got 0 and 1000"),
        ("linear-path", {"beyond": -0.5}, r"expected beyond to be in \[0, 10\], got -0.5"),
        ("gradient-cosine", {"images": 0}, "expected images to be at least 1, got 0"),
        ("gradient-cosine", {"when": "milestone"}, "expected when to be 'every' or 'milestones'"),
        ("dose", {"image": 5}, "did you mean 'images'"),
    ],
)
def test_bad_options(probe: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        catalog.build("probes", probe, options)
