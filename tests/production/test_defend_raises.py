"""A defense that goes wrong costs an outcome, never the timeline; wrong options are refused at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from simulator.batch import Batch
from simulator.errors import PluginError
from simulator.production.defending.driver import Defenders
from simulator.production.defending.runner import Limits
from simulator.production.training.networks import build_network
from simulator.records import Outcome
from simulator.scenario.model import Use
from simulator.tensors import ModelVersion

ARCHITECTURE = {"network": {"use": "standard-cnn"}, "channels": 1, "size": [12, 12], "classes": 4}
ROWS = Batch(
    torch.rand(20, 1, 12, 12, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 4, torch.arange(20)
)
MODEL = ModelVersion(build_network(Use(use="standard-cnn"), channels=1, size=(12, 12), classes=4, seed=0))

#: name, what the outcome says; all of these also hold in a worker
FAULTS = [
    ("Raises", r"raised RuntimeError: no luck today \(defend_faults.py, line 35\)"),
    ("Exits", r"raised SystemExit: 3 \(defend_faults.py, line 60\)"),
    ("WrongShape", r"expected keep to be a bool tensor of shape \(20,\), got torch.bool of shape \(19,\)"),
    ("WrongType", r"bool tensor of shape \(20,\), got torch.float32"),
    ("WrongResult", "expected a FilterResult, got Tensor"),
    ("DropsAll", "left fewer than two rows"),
    ("NanEvidence", "expected evidence to be finite JSON values"),
    ("TensorEvidence", "expected evidence to be finite JSON values"),
    ("AltersWindow", "got window.images changed"),
    ("AltersTrusted", "got trusted.labels changed"),
    ("NanWeights", "to be finite, got NaN or infinity"),
    ("OtherNetwork", "expected the model's own architecture, got another"),
    ("NanScore", "expected score to be finite, got nan"),
    ("TensorVerdict", "expected flagged to be True or False, got Tensor"),
    ("ShortScreen", r"expected flagged to be a bool tensor of shape \(20,\)"),
]


@pytest.fixture(autouse=True)
def _faults_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


@pytest.fixture(scope="module")
def worker() -> Iterator[Defenders]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        with closing(_defenders(*(f"defend_faults:{name}" for name, _ in FAULTS), in_process=False)) as defenders:
            yield defenders


def _defenders(*names: Any, in_process: bool = True, seconds: float = 60.0) -> Defenders:
    uses = tuple(Use.model_validate(name if isinstance(name, dict) else {"use": name}) for name in names)
    device = torch.device("cpu")
    return Defenders(
        uses,
        architecture=ARCHITECTURE,
        device=device,
        limits=Limits(seconds),
        in_process=in_process,
        threads=1,
        seed=0,
    )


def _everything(defenders: Defenders, model: ModelVersion = MODEL) -> dict[str, Outcome]:
    """Run all surfaces, check that nothing of a failed one was used, and return the outcomes by short name."""
    images, labels = ROWS.images.clone(), ROWS.labels.clone()
    run = defenders.filter(model, ROWS, ROWS, period=1, subject="champion")
    repaired, outcomes = defenders.repair(model, ROWS, period=1)
    run_of_screens = defenders.screen(model, ROWS.images, ROWS, period=1)
    flagged, screened = run_of_screens.flagged, run_of_screens.outcomes
    judged = defenders.inspect(model, ROWS, period=1, subject="champion")
    assert run.keep.all()
    assert repaired is model
    assert not flagged.any()
    assert torch.equal(ROWS.images, images)
    assert torch.equal(ROWS.labels, labels)
    return {outcome.name.rpartition(":")[2]: outcome for outcome in (*run.outcomes, *outcomes, *judged, *screened)}


def test_a_reason_holds_nothing_that_differs_between_processes_and_machines() -> None:
    outcome = _everything(_defenders("defend_faults:TellsPlaces"))["TellsPlaces"]
    assert outcome.reason == (
        "raised OSError: <object object at <address>> not in '<path>', \"<path>\" nor <path>: "
        "see <path>, 3 /4 of and/or ratio 1/2, https://example.org/help (defend_faults.py, line 42)"
    )


def test_a_reason_names_the_line_that_raised_however_long_the_text_is() -> None:
    reason = _everything(_defenders("defend_faults:RaisesAtLength"))["RaisesAtLength"].reason
    assert reason.startswith("raised RuntimeError: long long")
    assert reason.endswith("… (defend_faults.py, line 50)")
    assert len(reason) <= 300
    too_deep = _everything(_defenders("defend_faults:Recurses"))["Recurses"].reason
    assert too_deep.startswith("raised RecursionError: maximum recursion depth exceeded")
    assert "line" not in too_deep  # which one is reached depends on how deep the call began


def test_the_traceback_is_printed_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for asked in ("1", ""):
        monkeypatch.setenv("EBBDOOR_TRACEBACK", asked)
        with closing(_defenders("defend_faults:Raises", in_process=False)) as defenders:
            (outcome,) = defenders.filter(MODEL, ROWS, ROWS, period=1, subject="champion").outcomes
        assert outcome.reason == "raised RuntimeError: no luck today (defend_faults.py, line 35)"
        err = capfd.readouterr().err
        assert ("Traceback (most recent call last)" in err) == bool(asked)
        assert ('defend_faults.py", line 35, in filter' in err) == bool(asked)


@pytest.mark.parametrize(("name", "words"), FAULTS)
def test_a_fault_is_an_outcome(name: str, words: str) -> None:
    outcome = _everything(_defenders(f"defend_faults:{name}"))[name]
    assert outcome.status == "failed"
    assert re.search(words, outcome.reason), outcome.reason
    assert "\n" not in outcome.reason


def test_faults_in_a_worker_are_the_same(worker: Defenders) -> None:
    found = _everything(worker)
    for name, words in FAULTS:
        assert found[name].status == "failed"
        assert re.search(words, found[name].reason), found[name].reason


def test_dying_costs_a_worker_and_nothing_else() -> None:
    with closing(_defenders("defend_faults:Dies", "none", "strip", in_process=False)) as defenders:
        outcomes = defenders.filter(MODEL, ROWS, ROWS, period=1, subject="champion").outcomes
        screened = defenders.screen(MODEL, ROWS.images, ROWS, period=1).outcomes
    assert [outcome.status for outcome in outcomes] == ["failed", "passed"]
    assert outcomes[0].reason == "its process ended without an answer"
    assert screened[0].status == "skipped"  # 20 trusted images are too few for STRIP: it said so in a fresh worker


def test_hanging_costs_a_worker_and_nothing_else() -> None:
    late = "did not finish within 2 seconds; its process was ended"
    with closing(_defenders("defend_faults:Hangs", "strip", in_process=False, seconds=2.0)) as defenders:
        outcomes = defenders.filter(MODEL, ROWS, ROWS, period=1, subject="champion").outcomes
        screened = defenders.screen(MODEL, ROWS.images, ROWS, period=1).outcomes
        while screened[0].reason == late:  # on a busy machine that is too short even for what answers at once
            screened = defenders.screen(MODEL, ROWS.images, ROWS, period=1).outcomes
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [("timeout", late)]
    assert screened[0].status == "skipped"  # in a fresh worker, as above


def test_what_does_not_apply_is_skipped() -> None:
    outcome = _everything(_defenders("defend_faults:Skips"))["Skips"]
    assert (outcome.status, outcome.reason) == ("skipped", "nothing to do here")


@pytest.mark.parametrize("in_process", [True, False])
def test_printing_leaves_our_output_and_the_channel_alone(in_process: bool, capfd: pytest.CaptureFixture[str]) -> None:
    with closing(_defenders("defend_faults:Prints", in_process=in_process)) as defenders:
        run = defenders.filter(MODEL, ROWS, ROWS, period=1, subject="champion")
    assert run.keep.tolist() == [False] + [True] * 19
    out, err = capfd.readouterr()
    assert "through print" in err
    assert "through print" not in out
    if not in_process:  # in process a child of the defense's own inherits our standard output
        assert out == ""


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ({"use": "strip", "overlay": 3}, "did you mean 'overlays'"),
        ({"use": "strip", "overlays": "many"}, "expected overlays to be a whole number"),
        ({"use": "strip", "opacity": 2.0}, r"defense 'strip': expected opacity to be at most 1(\.0)?, got 2\.0"),
        ({"use": "stripe"}, "did you mean 'strip'"),
        ({"use": "defend_faults:NoDefense"}, "to extend defenses.base.Defense, got NoDefense"),
        ({"use": "defend_faults:BadConstructor"}, "expected its constructor to work, got KeyError"),
        ({"use": "defend_faults:NoSurface"}, "to be a Filter, Training, Repair, Inspector or Screen, got NoSurface"),
        ({"use": "scripted", "surface": "attic"}, "expected surface to be"),
        ({"use": "scripted", "script": {"1": "explode"}}, "expected script.1 to be"),
    ],
)
def test_wrong_options_are_refused_at_once(use: dict[str, Any], words: str) -> None:
    with pytest.raises(PluginError, match=words):
        _defenders(use)
