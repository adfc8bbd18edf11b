"""Every rule of the gate on cases worked out by hand. Champion 3, candidate 4, ancestors 2, 1 and 0."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.production.gate import AccuracyGate, Ancestor, Gate, GateView, NoGate, ScriptedGate

_ANCESTORS = (Ancestor(2, 0.85), Ancestor(1, 0.84), Ancestor(0, 0.80))
_VIEW = GateView(
    period=5, candidate=4, champion=3, candidate_accuracy=0.86, champion_accuracy=0.87, ancestors=_ANCESTORS
)
_KEPT = replace(_VIEW, candidate=None, candidate_accuracy=None)
_FIRST = GateView(period=0, candidate=0, champion=None, candidate_accuracy=0.8)


def _judged(view: GateView, gate: Gate | None = None) -> tuple[str, int]:
    judgement = (gate or AccuracyGate()).judge(view)
    return judgement.action, judgement.serving


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("promoted", 4)),
        ({"candidate_accuracy": 0.95}, ("promoted", 4)),
        ({"candidate_accuracy": 0.82}, ("promoted", 4)),  # exactly the tolerance below
        ({"candidate_accuracy": 0.818}, ("rejected", 3)),
        ({"candidate_flagged": ("neural-cleanse",)}, ("rejected", 3)),
        ({"failed": ("neural-cleanse",)}, ("rejected", 3)),
        ({"candidate_accuracy": None, "champion_accuracy": None}, ("rejected", 3)),
        # a candidate in order replaces even a flagged or fallen champion
        ({"champion_flagged": ("neural-cleanse",)}, ("promoted", 4)),
        ({"candidate_accuracy": 0.7, "champion_accuracy": 0.7}, ("promoted", 4)),
        # rejected, and the champion that would go on serving is no good either
        ({"candidate_flagged": ("a",), "champion_flagged": ("a",)}, ("rolled back", 2)),
        ({"candidate_accuracy": 0.7, "champion_accuracy": 0.79}, ("rolled back", 2)),
    ],
)
def test_a_candidate(changes, expected):
    assert _judged(replace(_VIEW, **changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("kept", 3)),
        ({"champion_accuracy": 0.80}, ("kept", 3)),  # exactly the tolerance below version 2
        ({"champion_accuracy": 0.798}, ("rolled back", 2)),
        # version 2 is no better, version 1 is
        ({"champion_accuracy": 0.78, "ancestors": (Ancestor(2, 0.8), Ancestor(1, 0.84))}, ("rolled back", 1)),
        ({"champion_flagged": ("neural-cleanse",)}, ("rolled back", 2)),
        # an ancestor that was itself flagged is passed over
        ({"champion_flagged": ("a",), "ancestors": (Ancestor(2, 0.9, True), Ancestor(0, 0.5))}, ("rolled back", 0)),
        ({"champion_accuracy": 0.7, "ancestors": (Ancestor(2, 0.9, True),)}, ("kept", 3)),
        ({"champion_flagged": ("a",), "ancestors": (Ancestor(0, 0.9, True),)}, ("kept", 3)),
        ({"champion_flagged": ("a",), "ancestors": ()}, ("kept", 3)),
        # without trusted images accuracy says nothing, an inspector still does
        ({"champion_accuracy": None}, ("kept", 3)),
        ({"champion_flagged": ("a",), "ancestors": (Ancestor(2, None),)}, ("rolled back", 2)),
        # an inspector that failed is no evidence against the champion
        ({"failed": ("a",)}, ("kept", 3)),
    ],
)
def test_no_candidate(changes, expected):
    assert _judged(replace(_KEPT, **changes)) == expected


@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.05, 0.07, 0.1])
@pytest.mark.parametrize("champion", range(50, 101, 7))
def test_a_difference_equal_to_the_tolerance_passes(tolerance, champion):
    gate = AccuracyGate(tolerance=tolerance)
    steps = round(tolerance * 500)
    scored = {"champion_accuracy": champion * 5 / 500, "ancestors": ()}
    assert _judged(replace(_VIEW, candidate_accuracy=(champion * 5 - steps) / 500, **scored), gate) == ("promoted", 4)
    assert _judged(replace(_VIEW, candidate_accuracy=(champion * 5 - steps - 1) / 500, **scored), gate)[0] == "rejected"


def test_failed_inspectors_can_be_ignored():
    assert _judged(replace(_VIEW, failed=("a",)), AccuracyGate(on_failure="ignore")) == ("promoted", 4)
    flagged = replace(_VIEW, failed=("a",), candidate_flagged=("b",))
    assert _judged(flagged, AccuracyGate(on_failure="ignore")) == ("rejected", 3)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "the first version serves whatever the verdict: nothing against it"),
        ({"candidate_flagged": ("a", "b")}, "the first version serves whatever the verdict: flagged by a, b"),
        ({"failed": ("a",)}, "the first version serves whatever the verdict: not inspected: a failed"),
        ({"candidate_accuracy": None}, "the first version serves whatever the verdict: nothing against it"),
    ],
)
def test_the_first_version_serves_whatever_the_verdict(changes, why):
    judgement = AccuracyGate().judge(replace(_FIRST, **changes))
    assert (judgement.action, judgement.serving, judgement.why) == ("promoted", 0, why)


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (_VIEW, "accuracy 0.860 against the champion's 0.870"),
        (_KEPT, "no candidate"),
        (
            replace(_VIEW, candidate_accuracy=0.8, failed=("b",), candidate_flagged=("a",)),
            "flagged by a; not inspected: b failed; accuracy 0.800 is more than 0.050 below the champion's 0.870",
        ),
        (replace(_VIEW, champion_accuracy=None), "no trusted images to score it on"),
        (
            replace(_KEPT, champion_accuracy=0.7),
            "no candidate; champion's accuracy 0.700 is more than 0.050 below version 2's 0.850",
        ),
        (
            replace(_KEPT, champion_flagged=("a",), ancestors=()),
            "no candidate; champion flagged by a; no ancestor to roll back to, so it is kept",
        ),
    ],
)
def test_the_reason_is_given(view, why):
    assert AccuracyGate().judge(view).why == why


def test_the_numbers_are_kept():
    assert AccuracyGate().judge(_VIEW).numbers == {
        "candidate_accuracy": 0.86,
        "champion_accuracy": 0.87,
        "tolerance": 0.05,
    }
    rolled_back = AccuracyGate(tolerance=0.1).judge(replace(_KEPT, champion_accuracy=0.7))
    assert rolled_back.numbers == {"champion_accuracy": 0.7, "ancestor_accuracy": 0.85, "tolerance": 0.1}
    assert AccuracyGate().judge(replace(_KEPT, champion_accuracy=None)).numbers == {"tolerance": 0.05}


def test_no_gate_promotes_everything():
    worst = replace(_VIEW, candidate_accuracy=0.0, candidate_flagged=("a",), failed=("b",))
    assert _judged(worst, NoGate()) == ("promoted", 4)
    assert _judged(replace(_KEPT, champion_accuracy=0.0, champion_flagged=("a",)), NoGate()) == ("kept", 3)
    assert _judged(_FIRST, NoGate()) == ("promoted", 0)


def test_the_scripted_gate_does_what_is_written():
    gate = ScriptedGate(reject=(2, 3), roll_back=(4, 5))
    expected = {1: ("promoted", 4), 2: ("rejected", 3), 3: ("rejected", 3), 4: ("rolled back", 2), 6: ("promoted", 4)}
    assert {period: _judged(replace(_VIEW, period=period), gate) for period in expected} == expected
    assert _judged(replace(_KEPT, period=2), gate) == ("kept", 3)
    assert _judged(replace(_KEPT, period=5), gate) == ("rolled back", 2)
    assert _judged(replace(_VIEW, period=4, ancestors=()), gate) == ("rejected", 3)
    assert _judged(replace(_KEPT, period=4, ancestors=()), gate) == ("kept", 3)
    assert _judged(_FIRST, gate) == ("promoted", 0)


def test_who_timed_out_is_not_said_to_have_failed() -> None:
    view = replace(_VIEW, failed=("a", "b"), timed_out=("b",))
    assert AccuracyGate().judge(view).why == "not inspected: a failed, b timed out"
    assert AccuracyGate().judge(replace(view, failed=("b",))).why == "not inspected: b timed out"
