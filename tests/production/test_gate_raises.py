"""What gates refuse, and in which words."""

from __future__ import annotations

import pytest

from simulator.production.gate import AccuracyGate, GateView, ScriptedGate


@pytest.mark.parametrize(
    ("tolerance", "words"),
    [
        (-0.01, "at least 0.0, got -0.01; raise it"),
        (1.5, "at most 1.0, got 1.5; lower it"),
        (float("nan"), "a finite number, got NaN; write one"),
    ],
    ids=["below 0", "above 1", "not a number"],
)
def test_a_tolerance_out_of_range(tolerance, words):
    with pytest.raises(ValueError, match=f"expected tolerance to be {words}"):
        AccuracyGate(tolerance=tolerance)


def test_an_unknown_way_with_failures():
    with pytest.raises(ValueError, match=r"expected on_failure to be 'reject' or 'ignore', got 'retry'; choose"):
        AccuracyGate(on_failure="retry")


@pytest.mark.parametrize("name", ["reject", "roll_back"])
def test_a_script_for_the_first_version(name):
    with pytest.raises(ValueError, match=rf"expected {name}\.1 to be at least 1, got 0; raise it"):
        ScriptedGate(**{name: (4, 0)})


def test_a_view_of_nothing():
    with pytest.raises(ValueError, match=r"expected a gate to be shown a candidate or a champion, got neither"):
        GateView(period=3, candidate=None, champion=None)
