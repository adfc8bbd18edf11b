"""Which trainings can be done in one stack: those whose jobs have one signature."""

from __future__ import annotations

from typing import Any

from torch import nn

from simulator.production.training.job import Job
from simulator.records import digest_of


def signature(job: Job) -> str:
    """Return a digest that is the same for jobs that can be stacked: all but weights, data, seeds and learning rates.

    Network and its options, shapes of weights and images, device, rows, epochs, batch size, optimizer with its options,
    augmentation, precision, and what an update leaves alone.
    """
    recipe, phase = job.recipe, job.phase
    return digest_of(
        {
            "network": recipe.network.model_dump(mode="json"),
            "weights": _shapes(job.start),
            "images": [list(job.rows.images.shape), str(job.rows.images.dtype), str(job.rows.images.device)],
            "phase": phase.model_dump(mode="json", include={"epochs", "batch", "optimizer"}),
            "recipe": recipe.model_dump(mode="json", include={"augmentation", "precision"}),
            "not_trained": recipe.model_dump(mode="json", include={"frozen", "batchnorm"}) if job.update else None,
        }
    )


def _shapes(network: nn.Module) -> list[Any]:
    return [[name, list(value.shape), str(value.dtype)] for name, value in network.state_dict().items()]
