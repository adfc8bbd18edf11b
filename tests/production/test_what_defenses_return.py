"""What a defense returns beside its verdict: a state, scores, reversed triggers; checked, bounded, and kept."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from defenses.base import FilterResult, InspectorResult, RepairResult, ScreenResult, State
from simulator.production.defending.driver import Defenders
from simulator.production.defending.memory import Memory
from simulator.production.defending.results import DefenseRun, read_result
from simulator.production.defending.runner import Limits
from simulator.production.defending.shown import read_shown
from simulator.production.defending.unusable import Unusable
from simulator.records import Outcome
from simulator.scenario.model import Use
from tests.production.test_defend_raises import ARCHITECTURE, MODEL, ROWS

KEEP = torch.tensor([True, False, True])


def read(result: Any, surface: Any, *, remembers: bool = True, classes: int | None = 3) -> DefenseRun:
    outcome = Outcome(surface=surface, name="one", status="failed", reason="")
    return read_result(result, outcome, 3, {}, remembers=remembers, classes=classes)


def state_of(values: Any = None, tensors: Any = None) -> FilterResult:
    return FilterResult(KEEP, state=State(values or {}, tensors or {}))


FAULTY_STATES = [
    ({"state": {"calls": 1}}, "expected state to be a defenses.base.State or None, got dict"),
    ({"state": State({"share": float("nan")})}, "expected state values to be finite JSON values"),
    ({"state": State({"when": {1: "no"}})}, "expected the keys of state values to be text, got others"),
    ({"state": State({"it": torch.ones(1)})}, "expected state values to be finite JSON values"),
    ({"state": State({}, {"mean": torch.tensor([1.0, float("inf")])})}, "state tensor 'mean' to be finite, got NaN"),
    ({"state": State({}, {"mean": torch.ones(1, dtype=torch.complex64)})}, "dense, of whole or real numbers, got"),
    ({"state": State({}, {"mean": torch.eye(2).to_sparse()})}, "dense, of whole or real numbers, got"),
    ({"state": State({}, {"mean": [1.0]})}, "dense, of whole or real numbers, got list"),
    ({"state": State({}, {"mean": torch.ones(250_001)})}, "state of at most 1000000 bytes, got 1000004"),
    ({"state": State({"text": "x" * 600_000}, {"a": torch.ones(100_000)})}, "at most 1000000 bytes, got 1000013"),
]


@pytest.mark.parametrize(("keys", "message"), FAULTY_STATES, ids=[message[-30:] for _, message in FAULTY_STATES])
def test_a_state_that_cannot_be_kept_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(Unusable, match=message.replace("(", r"\(")):
        read(FilterResult(KEEP, **keys), "filter")


def test_a_class_has_to_say_that_it_remembers_and_a_screen_cannot() -> None:
    with pytest.raises(Unusable, match="only of a class that remembers, got some; set remembers = True"):
        read(state_of({"calls": 1}), "filter", remembers=False)
    with pytest.raises(Unusable, match="expected no state of a screen, got some"):
        read(ScreenResult(KEEP, state=State()), "screen")


def test_a_state_is_kept_as_json_values_and_copies_and_comes_back_from_a_record() -> None:
    mean = torch.tensor([0.5, 2.0])
    state = read(state_of({"when": (1, 2)}, {"mean": mean, "seen": torch.tensor([True])}), "filter").state
    assert state is not None
    mean[0] = 7.0
    memory, fresh = Memory(), Memory()
    memory.write("one", state, 4)
    fresh.restore(json.loads(json.dumps(memory.to_json())))
    for found in (memory.of("one"), fresh.of("one")):
        assert (found.values, found.period) == ({"when": [1, 2]}, 4)
        assert found.tensors["mean"].tolist() == [0.5, 2.0]
        assert found.tensors["seen"].tolist() == [True]
    assert memory.of("another") == State()


def test_a_tensor_that_could_not_be_read_again_is_refused() -> None:
    with pytest.raises(Unusable, match="expected no state tensor named '__metadata__', which a file of tensors"):
        read(state_of({}, {"__metadata__": torch.ones(2)}), "filter")
    memory, fresh = Memory(), Memory()
    odd = {name: torch.ones(1) for name in ("", "weight:", "state:", "past.version:0", "tensors", "purge:0", "é")}
    state = read(state_of({"period": 1, "tensors": "no"}, odd), "filter").state
    assert state is not None
    memory.write("one", state, 0)
    fresh.restore(json.loads(json.dumps(memory.to_json())))
    assert fresh.of("one").tensors.keys() == odd.keys()
    assert fresh.of("one").values == {"period": 1, "tensors": "no"}


def test_only_states_written_after_a_period_are_cleared() -> None:
    memory = Memory()
    for name, period in (("old", 2), ("new", 3), ("kept", 3)):
        memory.write(name, State({"a": 1}), period)
    memory.clear(["old", "new", "never"], after=2)
    assert list(memory.to_json()["defense_states"]) == ["kept", "old"]


def test_scores_of_rows_are_told_as_deciles() -> None:
    few = read(FilterResult(KEEP, torch.tensor([3.0, 1.0, 2.0])), "filter")
    assert few.outcome.evidence["shown"] == {"scores": {"count": 3, "values": [3.0, 1.0, 2.0]}}
    outcome = Outcome(surface="screen", name="one", status="failed", reason="")
    many = read_result(ScreenResult(torch.zeros(101).bool(), torch.arange(101.0).flip(0)), outcome, 101, {})
    values = [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0]
    assert many.outcome.evidence["shown"] == {"scores": {"count": 101, "values": values}}


def test_scores_of_classes_and_channels_are_told_with_six_digits() -> None:
    result = InspectorResult(False, 1.0, 2.0, class_scores=torch.tensor([1 / 3, 2.0, -1.0], dtype=torch.float64))
    assert read(result, "inspector").outcome.evidence["shown"]["class_scores"]["values"] == [0.333333, 2.0, -1.0]
    outcome = Outcome(surface="repair", name="one", status="failed", reason="")
    layer = torch.nn.Linear(2, 2)
    weights = dict(layer.state_dict())
    run = read_result(RepairResult(layer, scores={"conv": torch.tensor([0.25, 4.0])}), outcome, 0, weights)
    assert run.outcome.evidence["shown"] == {"channel_scores": {"conv": {"count": 2, "values": [0.25, 4.0]}}}


def pixels(trigger: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(trigger["pixels"]), np.uint8).reshape(trigger["shape"])


def test_triggers_are_kept_as_bytes_without_those_of_classes_that_have_none() -> None:
    triggers = torch.full((3, 1, 2, 2), float("nan"))
    triggers[0], triggers[2] = 1.0, torch.tensor([[[0.0, 0.2], [0.4, 0.6]]])
    shown = read(InspectorResult(True, 3.0, 2.0, triggers=triggers), "inspector").outcome.evidence["shown"]
    assert [trigger["of_class"] for trigger in shown["triggers"]] == [0, 2]
    assert pixels(shown["triggers"][0]).tolist() == [[[255, 255], [255, 255]]]
    assert pixels(shown["triggers"][1]).tolist() == [[[0, 51], [102, 153]]]


def test_large_triggers_are_made_smaller_and_the_most_suspicious_are_kept() -> None:
    triggers = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    scores = torch.tensor([1.0, 3.0, 2.0])
    result = InspectorResult(True, 3.0, 2.0, class_scores=scores, triggers=triggers)
    (first, second) = read(result, "inspector").outcome.evidence["shown"]["triggers"]
    assert [first["of_class"], second["of_class"]] == [1, 2]
    mean = triggers[1].reshape(3, 64, 2, 64, 2).mean((2, 4)).numpy() * 255
    assert np.abs(pixels(first) - mean).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (InspectorResult(True, 1.0, 1.0, class_scores=torch.ones(4)), r"class_scores .* shape \(3,\)"),
        (InspectorResult(True, 1.0, 1.0, class_scores=torch.tensor([1.0, float("nan"), 0.0])), "class_scores .*finite"),
        (InspectorResult(True, 1.0, 1.0, triggers=torch.ones(4, 1, 2, 2)), r"triggers .* shape \(3, C, H, W\)"),
        (InspectorResult(True, 1.0, 1.0, triggers=torch.full((3, 1, 2, 2), 2.0)), r"triggers to lie in \[0, 1\]"),
        (InspectorResult(True, 1.0, 1.0, {"shown": 1}), "evidence without 'shown'"),
    ],
)
def test_what_cannot_be_shown_is_refused(result: InspectorResult, message: str) -> None:
    with pytest.raises(Unusable, match=message):
        read(result, "inspector")


@pytest.mark.parametrize(
    "values",
    [
        [],
        {"other": 1},
        {"scores": {"count": 2, "values": [float("nan")]}},
        {"scores": {"count": 2, "values": [0.5] * 300}},
        {"triggers": [{"of_class": 0, "shape": [1, 2, 2], "pixels": "AAAA"}]},
        {"triggers": [{"of_class": 0, "shape": [1, 1, 3], "pixels": "<!!>"}]},
        {"triggers": [{"of_class": 0, "shape": [1, 150, 150], "pixels": "A" * 30_000}] * 2},
    ],
)
def test_an_answer_that_shows_something_else_is_refused(values: Any) -> None:
    with pytest.raises(Unusable):
        read_shown(values)


# -- through the driver, beside the timeline and in processes of their own ---------------------------------------------


def defenders(*uses: dict[str, Any], in_process: bool) -> Any:
    named = tuple(Use.model_validate(use) for use in uses)
    cpu = torch.device("cpu")
    options: dict[str, Any] = {"architecture": ARCHITECTURE, "device": cpu, "limits": Limits(60.0)}
    return closing(Defenders(named, **options, in_process=in_process, threads=1, seed=0))


@pytest.fixture
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


@pytest.mark.usefixtures("_importable")
def test_states_and_what_is_shown_are_the_same_in_processes_of_their_own() -> None:
    uses = ({"use": "remembering:Shows"}, {"use": "remembering:TooMuch"})
    found = []
    for in_process in (True, False):
        with defenders(*uses, in_process=in_process) as made:
            outcomes = [made.inspect(MODEL, ROWS, period=period, subject="champion", window=None) for period in (1, 2)]
            found.append(([[one.model_dump() for one in told] for told in outcomes], made.memory.to_json()))
    assert found[0] == found[1]
    (first, much), (second, _) = found[0][0]
    assert (first["evidence"]["before"], second["evidence"]["before"]) == ([None, 0, 0.0], [1, 1, 3.0])
    assert first["evidence"]["shown"]["class_scores"]["values"] == [0.0, 1.0, 2.0, 3.0]
    assert (much["status"], much["reason"]) == (
        "failed", "expected state of at most 1000000 bytes, got 4000004; remember less"
    )  # fmt: skip
    assert first["cost"] == {"samples": 20, "forward_passes": 1, "backward_passes": 1, "trusted_images": 20}
    assert list(found[0][1]["defense_states"]) == ["remembering:Shows"]


def test_the_state_of_a_result_that_was_not_used_is_lost() -> None:
    use = {"use": "scripted", "surface": "filter", "remembers": True, "otherwise": "flag", "share": 1.0}
    with defenders(use, in_process=True) as made:
        run = made.filter(MODEL, ROWS, ROWS, period=1, subject="champion")
        assert run.outcomes[0].status == "failed"
        assert made.memory.to_json() == {}
