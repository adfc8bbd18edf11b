"""Avalanche's `Naive` fine-tuning on a benchmark of PIL images with transforms, as its own benchmarks are made."""

from __future__ import annotations

from typing import Any

import torch
from torchvision.transforms import Compose

from benchmarks.peers.work import EVALUATION_BATCH, Images, Part, Sizes, Timeline, pipeline, standard_timeline
from simulator.bench import bare_loop


def play_avalanche(seed: int, sizes: Sizes) -> dict[str, list[float]]:
    """Play the timeline, an experience a period; return both curves, a share a training. Imports Avalanche (10 s).

    Only the accuracy of a stream is measured and nothing is logged: what is compared is the training.
    """
    torch.manual_seed(seed)
    timeline = standard_timeline(seed, sizes)
    benchmark = _benchmark(timeline)
    found: dict[str, list[float]] = {"clean_accuracy": [], "attack_success": []}
    for period, experience in enumerate(benchmark.streams["train"]):
        strategy = _strategy(timeline.network, sizes.epochs, len(experience.dataset), one_cycle=period == 0)
        strategy.train(experience)
        for name in found:
            metrics = strategy.eval(benchmark.streams[name][period])
            found[name].append(metrics[f"Top1_Acc_Stream/eval_phase/{name}_stream"])
    return found


def _benchmark(timeline: Timeline) -> Any:
    """The periods as experiences: to train on, and the test images at each one's rotation, clean and stamped."""
    from avalanche.benchmarks.scenarios.dataset_scenario import benchmark_from_datasets

    rotations = [degrees for _, degrees in timeline.training]
    return benchmark_from_datasets(
        train=[_dataset(part, pipeline(degrees)) for part, degrees in timeline.training],
        clean_accuracy=[_dataset(timeline.clean, pipeline(degrees)) for degrees in rotations],
        attack_success=[_dataset(timeline.attacked, pipeline(degrees, stamped=True)) for degrees in rotations],
    )


def _dataset(part: Part, transform: Compose) -> Any:
    """A part as Avalanche's rotated and permuted benchmarks hold theirs: images, and what happens to each sample."""
    from avalanche.benchmarks.utils.classification_dataset import _make_taskaware_classification_dataset

    return _make_taskaware_classification_dataset(Images(part), task_labels=0, transform=transform)


def _strategy(model: torch.nn.Module, epochs: int, images: int, *, one_cycle: bool) -> Any:
    """A strategy for one training: like the bare loop's, it begins with a fresh optimizer."""
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.plugins.lr_scheduling import LRSchedulerPlugin
    from avalanche.training.supervised import Naive

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    schedule = bare_loop._one_cycle if one_cycle else bare_loop._constant
    scheduler = schedule(optimizer, epochs * -(-images // bare_loop.BATCH))
    return Naive(
        model=model,
        optimizer=optimizer,
        train_mb_size=bare_loop.BATCH,
        train_epochs=epochs,
        eval_mb_size=EVALUATION_BATCH,
        evaluator=EvaluationPlugin(accuracy_metrics(stream=True), loggers=[]),
        plugins=[LRSchedulerPlugin(scheduler, reset_scheduler=False, reset_lr=False, step_granularity="iteration")],
    )
