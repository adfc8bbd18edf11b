"""Options that make no schedule."""

from __future__ import annotations

import pytest

from simulator.errors import PluginError
from simulator.scenario import catalog

BAD = [
    ("constant", {"rate": 0}, "expected rate to be above 0.0, got 0; raise it"),
    ("constant", {"rate": float("nan")}, "expected rate to be a finite number, got NaN"),
    ("constant", {"rate": "fast"}, "expected rate to be a number, got 'fast'"),
    ("constant", {"peak": 0.1}, "expected an option it knows, got 'peak'"),
    ("step", {"every": 1.0}, "expected every to be below 1.0, got 1.0; lower it"),
    ("step", {"factor": -0.1}, "expected factor to be above 0.0, got -0.1"),
    ("cosine", {"peak": float("inf")}, "expected peak to be a finite number, got Infinity"),
    ("cosine", {"floor": -0.1}, "expected floor to be at least 0.0, got -0.1"),
    ("linear", {"peak": 0.1, "floor": 0.2}, r"expected peak to be at least floor \(0.2\), got 0.1"),
    ("slanted-triangular", {"cut": 0}, "expected cut to be above 0.0, got 0"),
    ("slanted-triangular", {"ratio": 0.5}, "expected ratio to be at least 1.0, got 0.5"),
    ("one-cycle", {"rise": 1.5}, "expected rise to be below 1.0, got 1.5"),
    ("one-cycle", {"divisor": 0.1}, "expected divisor to be at least 1.0, got 0.1"),
    ("cyclic-two-phase", {"half_period": 0}, "expected half_period to be at least 1, got 0"),
    ("cyclic-two-phase", {"base": 1.0}, r"expected peak2 to be at least base \(1.0\), got 0.05"),
    ("warm-restarts", {"growth": 0}, "expected growth to be at least 1, got 0"),
    ("warm-restarts", {"first": 0}, "expected first to be above 0.0, got 0"),
]


@pytest.mark.parametrize(
    ("name", "options", "message"), BAD, ids=[f"{n}-{list(o)[-1]}-{i}" for i, (n, o, _) in enumerate(BAD)]
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(PluginError, match=message):
        catalog.build("schedules", name, options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sgd", {"momentum": 1.0}, "expected momentum to be below 1.0, got 1.0"),
        ("sgd", {"weight_decay": -1}, "expected weight_decay to be at least 0.0, got -1"),
        ("sgd", {"nesterov": True, "momentum": 0}, "expected momentum to be above 0 with nesterov"),
        ("adamw", {"beta1": -0.1}, "expected beta1 to be at least 0.0, got -0.1"),
        ("adamw", {"beta2": 1}, "expected beta2 to be below 1.0, got 1"),
        ("adamw", {"weight_decay": float("inf")}, "expected weight_decay to be a finite number"),
        ("sdg", {}, "did you mean 'sgd'"),
    ],
)
def test_bad_optimizers_are_refused(name, options, message):
    with pytest.raises(PluginError, match=message):
        catalog.build("optimizers", name, options)
