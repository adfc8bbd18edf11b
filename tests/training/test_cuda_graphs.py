"""Recorded steps: a stand-in that does a step again on the same memory shows what CUDA's graphs would be given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.production.cohort.together import fit_together
from simulator.production.training.cuda_graphs import (
    LEAST,
    NotCapturable,
    Recorder,
    Steps,
    recorder_for,
    recording_with,
)
from simulator.production.training.fit import fit
from simulator.production.training.job import Job, Plan, Trained
from simulator.scenario.model import Phase, Recipe, Use

CPU = torch.device("cpu")

#: 205 rows: six full batches and one of 13 an epoch, so that ten epochs are worth a recording
PHASE = Phase.model_validate({"epochs": 10, "batch": 32, "schedule": {"use": "one-cycle", "peak": 0.05}})


class Repeats(Recorder):
    """Does a step again where CUDA would replay it; counts what it is asked."""

    def __init__(self) -> None:
        self.warmed = self.recorded = self.repeated = 0

    def warm(self, step: Callable[[], None]) -> None:
        self.warmed += 1
        step()

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1

        def repeat() -> None:
            self.repeated += 1
            step()

        return repeat


class Refuses(Recorder):
    """As where a graph cannot be recorded."""

    def warm(self, step: Callable[[], None]) -> None:
        step()

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        raise NotCapturable("RuntimeError: no graph of that")


def always(recorder: Recorder) -> Callable[[torch.device], Recorder]:
    return lambda device: recorder


def trained(network: nn.Module, batch: Batch, recorder: Recorder | None = None, **keys: Any) -> Trained:
    """Train with `PHASE`, from a recording where there is a recorder."""
    phase = PHASE.model_copy(update={"optimizer": Use(use=keys.pop("optimizer", "sgd"))})
    update = keys.pop("update", False)
    if recorder is None:
        return fit(network, batch, phase, Recipe(**keys), seed=3, update=update)
    with recording_with(always(recorder)):
        return fit(network, batch, phase, Recipe(**keys), seed=3, update=update)


def expect_same_bits(found: Trained, expected: Trained) -> None:
    assert found.losses == expected.losses
    assert (found.samples, found.steps) == (expected.samples, expected.steps)
    theirs = expected.model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in found.model.state_dict().items())


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"optimizer": "adamw"},
        {"augmentation": "crop-flip"},
        {"update": True, "frozen": ("features.0",), "batchnorm": "fixed-statistics"},
    ],
)
def test_repeated_steps_are_those_of_the_training(small_network: nn.Module, bars: Batch, keys: dict[str, Any]) -> None:
    recorder = Repeats()
    state = torch.get_rng_state()
    expect_same_bits(trained(small_network, bars, recorder, **keys), trained(small_network, bars, **keys))
    assert torch.equal(torch.get_rng_state(), state)
    assert (recorder.warmed, recorder.recorded, recorder.repeated) == (3, 1, 57)  # six full batches in ten epochs


def test_what_cannot_be_recorded_is_trained_anew_from_where_it_began(small_network: nn.Module, bars: Batch) -> None:
    before = {name: value.clone() for name, value in small_network.state_dict().items()}
    with pytest.warns(UserWarning, match="to be recordable, got RuntimeError: no graph of that; each"):
        found = trained(small_network, bars, Refuses())
    expect_same_bits(found, trained(small_network, bars))
    assert all(torch.equal(value, before[name]) for name, value in small_network.state_dict().items())


def test_a_stack_is_repeated_too(small_network: nn.Module, bars: Batch) -> None:
    for optimizer, augmentation in (("sgd", "none"), ("adamw", "crop-flip")):
        phase = PHASE.model_copy(update={"optimizer": Use(use=optimizer)})
        recipe = Recipe.model_validate({"augmentation": augmentation})
        jobs = [Job(small_network, bars, phase, recipe, seed, update=False) for seed in range(2)]
        recorder = Repeats()
        with recording_with(always(recorder)):
            found = fit_together(jobs)
        assert (recorder.warmed, recorder.recorded, recorder.repeated) == (3, 1, 57)
        for mine, theirs in zip(found, fit_together(jobs), strict=True):
            assert isinstance(mine, Trained)
            assert isinstance(theirs, Trained)
            expect_same_bits(mine, theirs)


def test_only_a_full_batch_is_repeated_and_what_stays_is_copied_once() -> None:
    seen: list[tuple[list[int], float]] = []
    buffers: list[Tensor] = []

    def step(rows: Tensor, plan: Tensor) -> None:
        seen.append((rows.tolist(), float(plan)))
        buffers.append(plan)

    recorder = Repeats()
    steps = Steps(step, 2, recorder)
    first, second = torch.tensor(1.0), torch.tensor(2.0)
    order = torch.arange(9)
    for rows in order.split(2):
        steps(rows, first)
    for rows in order.split(2):
        steps(rows, second)
    expected = [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
    assert seen == [(rows, 1.0) for rows in expected] + [(rows, 2.0) for rows in expected]
    assert (recorder.warmed, recorder.repeated) == (3, 5)
    assert [buffer is first for buffer in buffers[:5]] == [True, True, True, False, True]
    kept = buffers[3]
    assert all(buffer is kept for buffer in buffers[5:9])
    assert buffers[9] is second
    assert float(first) == 1.0


@pytest.mark.parametrize(
    ("phase", "recipe", "paid"),
    [
        ({}, {}, True),
        ({"epochs": 8}, {}, False),  # 48 full batches
        ({}, {"precision": "float16"}, False),
        ({}, {"precision": "bfloat16"}, True),
        ({}, {"network": {"use": "uncaptured_plugins:Thing"}}, False),
        ({"optimizer": {"use": "uncaptured_plugins:Thing"}}, {}, False),
    ],
)
def test_it_is_recorded_where_it_pays_and_is_ours(
    phase: dict[str, Any], recipe: dict[str, Any], paid: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "uncaptured_plugins.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    used = Phase.model_validate(PHASE.model_dump() | phase)
    with recording_with(always(Repeats())):
        recorder = recorder_for(CPU, Recipe.model_validate(recipe), used, Plan.of(205, used))
    assert LEAST == 50
    assert (recorder is not None) == paid


def test_on_a_cpu_nothing_is_recorded() -> None:
    assert recorder_for(CPU, Recipe(), PHASE, Plan.of(205, PHASE)) is None
