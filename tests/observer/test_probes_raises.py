"""Probe options out of range."""

from __future__ import annotations

from typing import Any

import pytest

from simulator import catalog
from simulator.errors import PluginError


@pytest.mark.parametrize(
    ("probe", "options", "message"),
    [
        ("dose", {"images": 0}, "expected images to be at least 1, got 0"),
        ("dose", {"halvings": 21}, r"expected halvings to be in \[0, 20\], got 21"),
        ("relearning", {"poisoned": 0}, "expected poisoned to be"),
        ("relearning", {"epochs": 0}, "expected epochs and draws to be at least 1, got 0 and 3"),
        ("relearning", {"draws": 0}, "expected epochs and draws to be at least 1, got 8 and 0"),
        ("relearning", {"rate": 0.0}, "expected rate to be above 0"),
        ("dose", {"image": 5}, "did you mean 'images'"),
    ],
)
def test_bad_options(probe: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        catalog.build("probes", probe, options)
