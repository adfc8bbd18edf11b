"""What gates refuse, and in which words."""

from __future__ import annotations

import pytest

from simulator.production.gate import AccuracyGate, GateView, ScriptedGate


@pytest.mark.parametrize("tolerance", [-0.01, 1.5, float("nan")])
def test_a_tolerance_out_of_range(tolerance):
    with pytest.raises(ValueError, match=r"expected tolerance to be in \[0, 1\], got .*; 0\.05 is five points"):
        AccuracyGate(tolerance=tolerance)


def test_an_unknown_way_with_failures():
    with pytest.raises(ValueError, match=r"expected on_failure to be 'reject' or 'ignore', got 'retry'; choose one"):
        AccuracyGate(on_failure="retry")


@pytest.mark.parametrize("name", ["reject", "roll_back"])
def test_a_script_for_the_first_version(name):
    with pytest.raises(ValueError, match=rf"expected {name} to be periods from 1 on, got 0; version 0 always serves"):
        ScriptedGate(**{name: (4, 0)})


def test_a_view_of_nothing():
    with pytest.raises(ValueError, match=r"expected a gate to be shown a candidate or a champion, got neither"):
        GateView(period=3, candidate=None, champion=None)
