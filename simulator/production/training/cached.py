"""Cached trainings: the same job by the same trainer gives the same model, bit for bit, without being trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from simulator.cache.entry import CachedResult
from simulator.cache.key import device_name
from simulator.cache.store import Cache
from simulator.production.training.device import layout_of
from simulator.production.training.job import Job, Trained
from simulator.production.training.weights import load_into
from simulator.scenario.identity import third_party
from simulator.tensors import weights_digest, weights_of


def cached_training(cache: Cache, job: Job, train: Callable[[Job], Trained], about: Mapping[str, Any]) -> Trained:
    """Return `train(job)`, from `cache` where it was trained before.

    `about` are JSON values that decide the outcome beside the job: the architecture, and who trains. The result's model
    is a copy of the job's start with the trained weights, in eval mode, whether computed or cached.
    """
    if cache.folder is None:
        return train(job)

    def compute() -> CachedResult:
        done = train(job)
        values = {"samples": done.samples, "steps": done.steps, "losses": done.losses}
        return CachedResult(values, weights_of(done.model))

    found = cache.lookup("training", job_key(job) | {"about": dict(about)}, compute)
    model = copy.deepcopy(job.start).to(job.rows.images.device)
    load_into(model, found.tensors)
    values = found.values
    return Trained(model.eval(), values["samples"], values["steps"], tuple(values["losses"]))


def job_key(job: Job) -> dict[str, Any]:
    """Return JSON values that decide a job's result, together with who trains and with the environment."""
    recipe, phase = job.recipe, job.phase
    return {
        "start": weights_digest(weights_of(job.start)),
        "fixed": [name for name, value in job.start.named_parameters() if not value.requires_grad],
        "layout": str(layout_of(job.start)),
        "rows": weights_digest({"images": job.rows.images, "labels": job.rows.labels}),
        "phase": phase.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json", include={"frozen", "batchnorm", "augmentation", "precision"}),
        "seed": job.seed,
        "update": job.update,
        "device": device_name(job.rows.images.device),
        "third_party": third_party(
            [("networks", recipe.network), ("optimizers", phase.optimizer), ("schedules", phase.schedule)]
        ),
    }
