"""Training on CUDA: all precisions learn, and the global state is kept."""

from __future__ import annotations

import pytest
import torch

from simulator.batch import Batch
from simulator.production.training.evaluate import accuracy
from simulator.production.training.fit import fit
from simulator.scenario.model import Phase, Recipe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device usable by this torch"),
]

PHASE = Phase.model_validate({"epochs": 6, "batch": 32, "schedule": {"use": "constant", "rate": 0.05}})


def on_cuda(batch):
    return Batch(batch.images.cuda(), batch.labels.cuda(), batch.ids.cuda())


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
def test_every_precision_learns(small_network, bars, precision):
    batch = on_cuda(bars)
    trained = fit(small_network, batch, PHASE, Recipe(precision=precision), seed=1, update=True)
    assert accuracy(trained.model, batch) > 0.95
    assert all(value.dtype == torch.float32 for value in trained.model.parameters())
    assert all(value.is_cuda for value in trained.model.parameters())


def test_the_global_cuda_state_is_kept(small_network, bars):
    state = torch.cuda.get_rng_state()
    fit(small_network, on_cuda(bars), PHASE, Recipe(), seed=1, update=True)
    assert torch.equal(torch.cuda.get_rng_state(), state)
