"""Requests and answers as a stranger's class may return them: checked in the child, and again in the parent."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from defenses.base import FilterResult, Hold, InspectorResult, Purge, Retrain, RollBack, ScreenResult, TrainingResult
from simulator.production.defending.answers import as_values, read_answer
from simulator.production.defending.job import Job
from simulator.production.defending.results import DefenseRun, read_result
from simulator.production.defending.unusable import Unusable
from simulator.records import Asked, Outcome

KEEP = torch.tensor([True, True, True])
ROWS = torch.tensor([True, False, False])
ARCHITECTURE = {"network": {"use": "standard-cnn"}, "channels": 1, "size": [8, 8], "classes": 3}


def read(result: Any, surface: Any, rows: int = 3) -> DefenseRun:
    outcome = Outcome(surface=surface, name="one", status="failed", reason="")
    return read_result(result, outcome, rows, {}, classes=3)


FAULTY = [
    ("hold", "expected requests to be a tuple, got str"),
    ((Hold("x"),) * 17, "expected at most 16 requests, got 17; ask for less"),
    (("hold",), "expected a request to be RollBack, Retrain, Purge or Hold, got str"),
    ((Hold(""),), "expected the reason of a request to be text, got an empty one; say why"),
    ((Hold(3),), "expected the reason of a request to be text, got int"),
    ((RollBack(-1, "x"),), "expected to of a request to be a whole number from 0 on, got -1"),
    ((RollBack(True, "x"),), "expected to of a request to be a whole number from 0 on, got True"),
    ((RollBack(10**20, "x"),), "expected to of a request to be a whole number from 0 on, got 1000"),
    ((Purge("x"),), "expected a purge to name periods or rows, got neither"),
    ((Purge("x", periods=(1.5,)),), "expected periods of a request to be a whole number from 0 on, got 1.5"),
    ((Purge("x", periods=3),), "expected periods of a purge to be a tuple of them, got int"),
    ((Purge("x", rows=[True] * 3),), r"rows of a purge to be a bool tensor of shape \(3,\), got list"),
    ((Purge("x", rows=KEEP[:2]),), r"rows of a purge to be a bool tensor of shape \(3,\), got torch.bool of shape"),
    ((Retrain("x", {"epochs": float("nan")}),), "expected the recipe of a retraining to be finite JSON values"),
    ((Retrain("x", [1]),), "expected the recipe of a retraining to be a mapping, got list"),
    ((Retrain("x", {"a": "b" * 3000}),), "expected the recipe of a retraining to be at most 2000 characters, got 3009"),
]


@pytest.mark.parametrize(("requests", "message"), FAULTY, ids=[message[-24:] for _, message in FAULTY])
def test_a_request_that_cannot_be_read_is_refused(requests: Any, message: str) -> None:
    with pytest.raises(Unusable, match=message):
        read(FilterResult(KEEP, requests=requests), "filter")


def test_screens_may_not_ask_and_rows_need_a_window() -> None:
    with pytest.raises(Unusable, match="expected no requests of a screen, got some"):
        read(ScreenResult(KEEP, requests=(Hold("x"),)), "screen")
    with pytest.raises(Unusable, match="rows of a purge to be None where no window is shown, got some; name periods"):
        read(InspectorResult(False, 0.0, 1.0, requests=(Purge("x", rows=ROWS),)), "inspector", rows=0)


def test_a_reason_is_kept_like_all_others_and_periods_once() -> None:
    run = read(FilterResult(KEEP, requests=(Purge("a\nb" + "c" * 400, periods=(3, 1, 3)),)), "filter")
    (asked,) = run.outcome.requests
    assert asked.reason.startswith("a bccc")
    assert len(asked.reason) == 300
    assert (asked.periods, asked.granted) == ([1, 3], False)


JOB = Job(
    name="one", use="none", options={}, surface="filter", subject="window", architecture=ARCHITECTURE, device="cpu",
    period=1, seed=0,
)  # fmt: skip
GIVEN = {"window.labels": torch.arange(3), "trusted.labels": torch.arange(2)}
ASKED = (Hold("h"), Purge("p", (2,), ROWS), RollBack(4, "b"), Retrain("r", {"epochs": 2}))


def sent() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    cost = dict.fromkeys(("samples", "forward_passes", "backward_passes", "trusted_images"), 0)
    run = read(FilterResult(KEEP, requests=ASKED), "filter")
    outcome = run.outcome.model_copy(update={"cost": cost})
    return as_values(DefenseRun(outcome, run.tensors, purges=run.purges))


def test_requests_travel_as_values_with_their_masks() -> None:
    values, tensors = sent()
    run = read_answer(JOB, json.dumps(values), tensors, GIVEN)
    assert run.outcome.status == "passed"
    assert run.outcome.requests == [
        Asked(kind="hold", reason="h"), Asked(kind="purge", reason="p", periods=[2], rows=1),
        Asked(kind="roll-back", reason="b", to=4), Asked(kind="retrain", reason="r", recipe={"epochs": 2}),
    ]  # fmt: skip
    assert run.purges[1].tolist() == ROWS.tolist()


def granted(values: dict[str, Any], tensors: dict[str, Any]) -> None:
    values["outcome"]["requests"][0] |= {"granted": True, "why": "because I say so"}


def unknown(values: dict[str, Any], tensors: dict[str, Any]) -> None:
    values["outcome"]["requests"][0]["kind"] = "shutdown"


def many(values: dict[str, Any], tensors: dict[str, Any]) -> None:
    values["outcome"]["requests"] *= 5


def wide(values: dict[str, Any], tensors: dict[str, Any]) -> None:
    tensors["purge:1"] = torch.ones(4, dtype=torch.bool)


def elsewhere(values: dict[str, Any], tensors: dict[str, Any]) -> None:
    tensors["purge:9"] = ROWS


def test_a_process_cannot_grant_its_own_requests() -> None:
    values, tensors = sent()
    granted(values, tensors)
    found = read_answer(JOB, json.dumps(values), tensors, GIVEN).outcome.requests[0]
    assert found == Asked(kind="hold", reason="h")


@pytest.mark.parametrize(("change", "message"), [
    (unknown, "expected its process to send requests of their form, got something else"),
    (many, "expected its process to send at most 16 requests, got something else"),
    (wide, "expected rows of a purge to be a bool tensor of shape"),
    (elsewhere, "expected its process to send at most 16 requests, got something else"),
])  # fmt: skip
def test_what_a_process_sends_is_checked_again(change: Any, message: str) -> None:
    values, tensors = sent()
    change(values, tensors)
    outcome = read_answer(JOB, json.dumps(values), tensors, GIVEN).outcome
    assert outcome.status == "failed"
    assert outcome.reason.startswith(message)
    assert outcome.requests == []


def test_answers_of_a_screen_are_counted_without_those_refused() -> None:
    run = read(ScreenResult(ROWS, answers=torch.tensor([2, 1, -1])), "screen")
    assert run.outcome.reason == "refused 1 of 3 images, answered 1"
    assert (run.outcome.status, run.outcome.evidence) == ("flagged", {"rows": 3, "refused": 1, "answered": 1})
    assert run.tensors["answers"].tolist() == [2, 1, -1]
    assert read(ScreenResult(~KEEP, answers=torch.tensor([2, 1, -1])), "screen").outcome.status == "changed"
    assert read(ScreenResult(~KEEP), "screen").outcome.evidence == {"rows": 3, "refused": 0}


@pytest.mark.parametrize(("answers", "message"), [
    ([0, 1, 2], r"expected answers to be None or an int64 tensor of shape \(3,\), got list"),
    (torch.tensor([0.0, 1.0, 2.0]), "got torch.float32 of shape"),
    (torch.tensor([0, 1]), r"got torch.int64 of shape \(2,\)"),
    (torch.tensor([0, 1, 3]), "expected answers from -1 to below 3, got 0 to 3"),
    (torch.tensor([-2, 1, 2]), "expected answers from -1 to below 3, got -2 to 2"),
])  # fmt: skip
def test_answers_that_are_none_are_refused(answers: Any, message: str) -> None:
    with pytest.raises(Unusable, match=message):
        read(ScreenResult(KEEP, answers=answers), "screen")


def test_a_trained_model_is_checked_like_a_repaired_one() -> None:
    layer = torch.nn.Linear(2, 2)
    before = {name: value + 1 for name, value in layer.state_dict().items()}
    outcome = Outcome(surface="training", name="one", status="failed", reason="")
    assert read_result(TrainingResult(layer), outcome, 3, before).outcome.reason == "changed 2 of 2 weight tensors"
    with pytest.raises(Unusable, match="expected a TrainingResult, got FilterResult"):
        read(FilterResult(KEEP), "training")
    with torch.no_grad():
        layer.weight.fill_(float("nan"))
    with pytest.raises(Unusable, match="expected weight 'weight' to be finite, got NaN or infinity"):
        read_result(TrainingResult(layer), outcome, 3, before)
