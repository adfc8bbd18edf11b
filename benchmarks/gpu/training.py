"""The training of a cohort by itself, and how far it is from what the device could do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch

from benchmarks.gpu.clock import Cost, timed
from benchmarks.gpu.roofline import Count, counted
from benchmarks.gpu.sizes import Sizes
from simulator.batch import Batch
from simulator.bench.standard import STANDARD
from simulator.production.cohort.together import fit_together
from simulator.production.training.cuda_graphs import no_recorder, recording_with
from simulator.production.training.job import Job
from simulator.production.training.networks import build_network
from simulator.production.update import fitted
from simulator.scenario.model import Recipe


def measure_training(device: torch.device, sizes: Sizes, peaks: Mapping[str, float | None]) -> dict[str, Any]:
    """Do the base training of each timeline on random images, in one stack; and one of them alone.

    Returns for both (`alone`, `together`), on CUDA also with every step done by itself (`alone-unrecorded`, ...), what
    `distance` does as `ways`, and `flops_per_image` and `bytes_per_image`, counted on one step. `ratio`: images/s
    together over alone.
    """
    work = jobs(device, sizes)
    count = _per_image(work[0])
    fit_together([_step_of(job) for job in work])
    fitted(_step_of(work[0]))
    images = sizes.base * sizes.epochs
    does: dict[str, tuple[int, Callable[[], object]]] = {
        "alone": (1, lambda: fitted(work[0])),
        "together": (len(work), lambda: fit_together(work)),
    }
    ways = {}
    for name, (members, training) in does.items():
        _, cost = timed(device, training)
        ways[name] = {"members": members, **distance(cost, images * members, count, peaks)}
        if device.type == "cuda":
            with recording_with(no_recorder):
                _, cost = timed(device, training)
            ways[f"{name}-unrecorded"] = {"members": members, **distance(cost, images * members, count, peaks)}
    ratio = ways["together"]["images_per_second"] / ways["alone"]["images_per_second"]
    return {"flops_per_image": count.flops, "bytes_per_image": count.bytes, "ways": ways, "ratio": ratio}


def distance(cost: Cost, images: int, count: Count, peaks: Mapping[str, float | None]) -> dict[str, Any]:
    """Return rates, and how far they are from the roofline.

    `share_of_peak` maps each measured peak to the share that was reached; `roofline_seconds` is the least time in which
    the device could have done it at its peaks, float32 and copy;
    `times_roofline` how many times that it took. `count` is for one image.
    """
    operations, traffic = count.flops * images, count.bytes * images
    compute, copy = peaks["float32"], peaks["copy"]
    assert compute is not None
    assert copy is not None
    least = max(operations / compute, traffic / copy)
    done = {name: (traffic if name == "copy" else operations) / cost.seconds for name in peaks}
    return {
        **asdict(cost),
        "images_per_second": images / cost.seconds,
        "flops_per_second": operations / cost.seconds,
        "bytes_per_second": traffic / cost.seconds,
        "share_of_peak": {name: done[name] / peak for name, peak in peaks.items() if peak},
        "roofline_seconds": least,
        "times_roofline": cost.seconds / least,
    }


def jobs(device: torch.device, sizes: Sizes) -> list[Job]:
    """Return the base trainings of `sizes.timelines` seeds: `sizes.base` random images of 28 x 28 each."""
    recipe = Recipe.model_validate(STANDARD["recipe"])
    phase = recipe.base.model_copy(update={"epochs": sizes.epochs})
    rows = random_batch(device, sizes.base, channels=1, edge=28)
    return [
        Job(
            build_network(recipe.network, channels=1, size=(28, 28), classes=10, seed=seed).to(device),
            rows, phase, recipe, seed, update=False,
        )
        for seed in range(sizes.timelines)
    ]  # fmt: skip


def random_batch(device: torch.device, rows: int, *, channels: int, edge: int) -> Batch:
    """Return `rows` random images of `channels` x `edge` x `edge`, of ten classes; always the same ones."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(rows, channels, edge, edge, generator=draw).to(device)
    labels = torch.randint(0, 10, (rows,), generator=draw).to(device)
    return Batch(images, labels, torch.arange(rows, device=device))


def _step_of(job: Job) -> Job:
    """The job's first step alone."""
    size = job.phase.batch
    few = job.rows.take(torch.arange(min(size, len(job.rows)), device=job.rows.labels.device))
    return replace(job, rows=few, phase=job.phase.model_copy(update={"epochs": 1}))


def _per_image(job: Job) -> Count:
    one = _step_of(job)
    whole = counted(lambda: fitted(one))
    return Count(whole.flops // len(one.rows), whole.bytes // len(one.rows))
