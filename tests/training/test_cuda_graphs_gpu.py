"""Recorded steps on CUDA: the training that is done step by step, and nothing waited for on the way."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import nn

from simulator.batch import Batch
from simulator.production.cohort.together import fit_together
from simulator.production.training.cuda_graphs import (
    CudaGraphs,
    NotCapturable,
    Recorder,
    Steps,
    no_recorder,
    recording_with,
)
from simulator.production.training.fit import fit
from simulator.production.training.job import Job, Trained
from simulator.scenario.model import Phase, Recipe, Use

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device usable by this torch"),
]

#: 205 rows: six full batches and one of 13 an epoch, so that ten epochs are worth a recording
PHASE = Phase.model_validate({"epochs": 10, "batch": 32, "schedule": {"use": "one-cycle", "peak": 0.05}})


def on_cuda(batch: Batch) -> Batch:
    return Batch(batch.images.double().cuda(), batch.labels.cuda(), batch.ids.cuda())


def expect_close(found: object, expected: object) -> None:
    """Rates are float32 in a recording: hence not the last digits."""
    assert isinstance(found, Trained)
    assert isinstance(expected, Trained)
    assert found.losses == pytest.approx(expected.losses, rel=1e-5)
    theirs = expected.model.state_dict()
    for name, value in found.model.state_dict().items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("augmentation", ["none", "crop-flip"])
def test_repeated_steps_are_those_of_the_training(
    small_network: nn.Module, bars: Batch, optimizer: str, augmentation: str
) -> None:
    batch, phase = on_cuda(bars), PHASE.model_copy(update={"optimizer": Use(use=optimizer)})
    recipe = Recipe.model_validate({"augmentation": augmentation})
    state = torch.cuda.get_rng_state()
    found = fit(small_network.double(), batch, phase, recipe, seed=3, update=False)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    with recording_with(no_recorder):
        expected = fit(small_network.double(), batch, phase, recipe, seed=3, update=False)
    expect_close(found, expected)


def test_dropout_draws_anew_at_every_repetition() -> None:
    device = torch.device("cuda", 0)
    ones, mask = torch.ones(1000, device=device), torch.zeros(1000, device=device)
    steps = Steps(lambda rows: mask.copy_(nn.functional.dropout(ones, 0.5)), 8, CudaGraphs(device))
    drawn = []
    for _ in range(8):  # three of them before the recording
        steps(torch.arange(8, device=device))
        drawn.append(mask.clone())
    assert all((values == 0).float().mean() == pytest.approx(0.5, abs=0.1) for values in drawn)
    assert not any(torch.equal(one, other) for one, other in pairwise(drawn))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_stack_is_repeated_too(small_network: nn.Module, bars: Batch, optimizer: str) -> None:
    batch, phase = on_cuda(bars), PHASE.model_copy(update={"optimizer": Use(use=optimizer)})
    jobs = [Job(small_network.double().cuda(), batch, phase, Recipe(), seed, update=False) for seed in range(3)]
    found = fit_together(jobs)
    with recording_with(no_recorder):
        expected = fit_together(jobs)
    for mine, theirs in zip(found, expected, strict=True):
        expect_close(mine, theirs)


def test_what_waits_for_the_device_cannot_be_recorded_and_the_device_goes_on() -> None:
    values = torch.ones(4, device="cuda")

    def step(rows: torch.Tensor) -> None:
        if float(values.sum()) > 0:
            values.mul_(2)

    steps = Steps(step, 2, CudaGraphs(torch.device("cuda")))
    rows = torch.zeros(2, dtype=torch.long, device="cuda")
    for _ in range(3):
        steps(rows)
    with pytest.raises(NotCapturable):
        steps(rows)
    assert values.tolist() == [8.0] * 4
    assert torch.rand(3, device="cuda").sum() > 0


def test_no_step_waits_for_the_device(small_network: nn.Module, bars: Batch) -> None:
    """In torch's own watch on what waits, a training waits as often with many steps as with few."""
    batch = on_cuda(bars)

    def waits(choose: Callable[[torch.device], Recorder | None], size: int) -> int:
        phase = PHASE.model_copy(update={"batch": size})
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as heard, recording_with(choose):
                warnings.simplefilter("always")
                fit(small_network.double(), batch, phase, Recipe(), seed=3, update=False)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in heard)

    for choose in (CudaGraphs, no_recorder):
        assert waits(choose, 32) == waits(choose, 16)
