"""Trainings in one stack on CUDA: what each alone gives there, in double precision to the last digits but a few."""

from __future__ import annotations

import pytest
import torch

from simulator.batch import Batch
from simulator.production.cohort.together import fit_together
from simulator.production.training.job import Job, Trained
from simulator.production.training.networks import build_network
from simulator.production.update import fitted
from simulator.scenario.model import Phase, Recipe, Use

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device usable by this torch"),
]


def job(seed: int, network: str) -> Job:
    """Two epochs on 70 random images of 12 x 12; the rate depends on the seed."""
    draw = torch.Generator().manual_seed(seed)
    start = build_network(Use(use=network), channels=1, size=(12, 12), classes=3, seed=seed).double()
    images = torch.rand(70, 1, 12, 12, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 3, (70,), generator=draw)
    schedule = Use.model_validate({"use": "one-cycle", "peak": 0.02 * (seed + 1)})
    phase = Phase(epochs=2, batch=32, schedule=schedule)
    rows = Batch(images.cuda(), labels.cuda(), torch.arange(70).cuda())
    return Job(start.cuda(), rows, phase, Recipe(network=Use(use=network)), seed, update=False)


@pytest.mark.parametrize("network", ["standard-cnn", "compact-cnn"])
def test_a_stack_gives_what_each_alone_gives(network: str) -> None:
    jobs = [job(seed, network) for seed in range(2)]
    for one, found in zip(jobs, fit_together(jobs), strict=True):
        assert isinstance(found, Trained)
        expected = fitted(one)
        assert (found.samples, found.steps) == (expected.samples, expected.steps)
        assert found.losses == pytest.approx(expected.losses, rel=1e-6)  # `fit` adds them in single precision
        theirs = expected.model.state_dict()
        for name, value in found.model.state_dict().items():
            assert value.is_cuda
            torch.testing.assert_close(value, theirs[name], rtol=1e-8, atol=1e-8)
