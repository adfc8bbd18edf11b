"""How a gate is asked: what it may answer, and what becomes of it with a shadow ahead. Champion 3, candidate 4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, final

import pytest
import torch
from torch import nn

from simulator.production.gate import AccuracyGate, Ancestor, Gate, GateView, NoGate, ScriptedGate
from simulator.production.judging import ask, judged
from simulator.production.state import Shadow, agreeing
from simulator.records import Judgement

_VIEW = GateView(5, 4, 3, candidate_accuracy=0.86, champion_accuracy=0.87, ancestors=(Ancestor(2, 0.85),))
_FIRST = GateView(period=0, candidate=0, champion=None, candidate_accuracy=0.8)


@final
class Answers(Gate):
    """Answers what it is told to, as a third-party gate may."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self._answer = answer

    def judge(self, view: GateView) -> Judgement:
        return self._answer()  # type: ignore[no-any-return]


def _says(action: str, serving: int, why: str = "because") -> Answers:
    return Answers(lambda: Judgement(action=action, why=why, serving=serving))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        (
            Answers(lambda: 1 / 0),
            "expected the gate to judge, got none: it raised ZeroDivisionError: division by zero "
            "(test_gate_asked.py, line 41); correct it",
        ),
        (Answers(lambda: None), "expected the gate to return a Judgement, got NoneType; correct it"),
        (_says("promoted", 3), "expected what serves to fit 'promoted', got ordinal 3; correct the gate"),
        (_says("promoted", 99), "expected what serves to fit 'promoted', got ordinal 99; correct the gate"),
        (_says("rejected", 4), "expected what serves to fit 'rejected', got ordinal 4; correct the gate"),
        (_says("kept", 3), "expected what serves to fit 'kept', got ordinal 3; correct the gate"),
        (_says("rolled back", 1), "expected what serves to fit 'rolled back', got ordinal 1; correct the gate"),
        (_says("held", 3), "expected what serves to fit 'held', got ordinal 3; correct the gate"),
        (_says("promoted", 4, " "), "expected the gate to give a reason, got an empty one; correct it"),
        (_says("error", 3, "the rules are gone"), "the rules are gone"),
    ],
)
def test_what_cannot_be_judged_leaves_the_champion(gate: Gate, why: str) -> None:
    judgement = ask(gate, _VIEW)
    assert (judgement.action, judgement.serving, judgement.judged) == ("error", 3, 4)
    assert judgement.why.startswith(why)


def test_what_cannot_be_judged_serves_where_there_is_no_other() -> None:
    judgement = ask(Answers(lambda: 1 / 0), _FIRST)
    assert (judgement.action, judgement.serving, judgement.judged) == ("promoted", 0, 0)
    assert judgement.why.startswith("the first version serves whatever the verdict: expected the gate to judge")


def test_an_address_in_an_error_is_left_out_of_the_record() -> None:
    def fails() -> None:
        raise ValueError(f"cannot compare {object()!r}")

    assert "<object object at <address>>" in ask(Answers(fails), _VIEW).why


@pytest.mark.parametrize(
    ("shadow", "gate", "expected"),
    [
        ("none", NoGate(), ("promoted", 4)),
        ("ahead", NoGate(), ("held", 3)),
        ("on", NoGate(), ("held", 3)),
        ("passed", NoGate(), ("promoted", 4)),
        ("ahead", ScriptedGate(reject=(5,)), ("rejected", 3)),
        ("on", ScriptedGate(reject=(5,)), ("held", 3)),  # it is judged when its shadow is over
        ("passed", ScriptedGate(reject=(5,)), ("rejected", 3)),
        ("ahead", ScriptedGate(roll_back=(5,)), ("rolled back", 2)),
        ("on", ScriptedGate(roll_back=(5,)), ("rolled back", 2)),
        ("on", Answers(lambda: 1 / 0), ("error", 3)),
    ],
)
def test_a_shadow_comes_before_a_promotion(shadow: Any, gate: Gate, expected: tuple[str, int]) -> None:
    judgement = judged(gate, replace(_VIEW, shadow=shadow), why="in shadow")
    assert (judgement.action, judgement.serving) == expected
    assert judgement.judged == 4


def test_a_champion_that_goes_on_because_of_a_shadow_may_be_rolled_back() -> None:
    sound, flagged = AccuracyGate(), replace(_VIEW, champion_flagged=("a",))
    assert judged(sound, flagged).action == "promoted"
    for shadow in ("ahead", "on"):
        judgement = judged(sound, replace(flagged, shadow=shadow))
        assert (judgement.action, judgement.serving, judgement.judged) == ("rolled back", 2, 4)
        assert judgement.why == "the challenger is not held: no candidate; champion flagged by a"


@pytest.mark.parametrize("shadow", ["ahead", "on"])
def test_a_gate_that_is_asked_about_the_champion_alone_sees_nothing_of_the_candidate(shadow: Any) -> None:
    asked: list[GateView] = []

    class Watching(Gate):
        def judge(self, view: GateView) -> Judgement:
            asked.append(view)
            return ScriptedGate().judge(view)  # promotes also what an inspector flagged

    looked_at = {"candidate_flagged": ("a",), "failed": ("b",), "inspected": ("a",), "champion_flagged": ("c",)}
    judged(Watching(), replace(_VIEW, shadow=shadow, agreement=0.5, **looked_at), why="in shadow")
    champion = GateView(5, None, 3, champion_accuracy=0.87, ancestors=(Ancestor(2, 0.85),), champion_flagged=("c",))
    assert asked[-1] == champion
    assert len(asked) == (2 if shadow == "ahead" else 1)


def test_what_is_held_keeps_its_numbers() -> None:
    judgement = judged(
        AccuracyGate(), replace(_VIEW, shadow="on", agreement=0.5), why="the challenger of period 3 is in shadow"
    )
    assert judgement.why == "the challenger of period 3 is in shadow"
    assert judgement.numbers == {
        "candidate_accuracy": 0.86,
        "champion_accuracy": 0.87,
        "agreement": 0.5,
        "tolerance": 0.05,
    }


def test_agreement_is_the_share_of_all_predictions_so_far() -> None:
    shadow = Shadow(challenger=4, since=2, seen={})
    assert shadow.agreement is None
    shadow = shadow.saw(3, 3, 4).saw(4, 0, 2)
    assert shadow.agreement == 0.5
    assert shadow.saw(4, 0, 2) == shadow  # told again, it counts once
    assert [shadow.passed(period) for period in (2, 3, 4)] == [0, 1, 2]
    assert Shadow.from_json(shadow.to_json()) == shadow


def test_models_agree_where_they_name_the_same_class() -> None:
    def linear(weight: list[list[float]]) -> nn.Module:
        layer = nn.Linear(2, 2, bias=False)
        layer.load_state_dict({"weight": torch.tensor(weight)})
        return nn.Sequential(nn.Flatten(), layer)

    larger, first = linear([[1, 0], [0, 1]]), linear([[1, 1], [0, 0]])  # the larger pixel; always the first class
    images = torch.tensor([[2.0, 1.0], [1.0, 2.0], [5.0, 0.0]]).reshape(3, 1, 1, 2)
    assert agreeing(larger, first, images) == 2
