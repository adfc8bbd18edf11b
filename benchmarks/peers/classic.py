"""The classic PyTorch training loop: a `Dataset` of PIL images, a `DataLoader`, transforms sample by sample."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmarks.peers.work import EVALUATION_BATCH, Images, Sizes, pipeline, standard_timeline
from simulator.bench import bare_loop


def play_classic(seed: int, sizes: Sizes, *, workers: int = 0) -> dict[str, list[float]]:
    """Play the timeline with `workers` loading processes (0: none); return both curves, a share a training."""
    torch.manual_seed(seed)
    timeline = standard_timeline(seed, sizes)
    found: dict[str, list[float]] = {"clean_accuracy": [], "attack_success": []}
    for period, (part, degrees) in enumerate(timeline.training):
        _train(timeline.network, Images(part, pipeline(degrees)), sizes.epochs, workers, one_cycle=period == 0)
        tests = {
            "clean_accuracy": Images(timeline.clean, pipeline(degrees)),
            "attack_success": Images(timeline.attacked, pipeline(degrees, stamped=True)),
        }
        for name, images in tests.items():
            found[name].append(_share_right(timeline.network, images, workers))
    return found


def _train(model: nn.Module, images: Images, epochs: int, workers: int, *, one_cycle: bool) -> None:
    loader = DataLoader(images, batch_size=bare_loop.BATCH, shuffle=True, num_workers=workers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    schedule = bare_loop._one_cycle if one_cycle else bare_loop._constant
    scheduler = schedule(optimizer, epochs * len(loader))
    model.train()
    for _ in range(epochs):
        for batch, labels in loader:
            optimizer.zero_grad()
            functional.cross_entropy(model(batch), labels).backward()
            optimizer.step()
            scheduler.step()


@torch.no_grad()
def _share_right(model: nn.Module, images: Images, workers: int) -> float:
    loader = DataLoader(images, batch_size=EVALUATION_BATCH, num_workers=workers)
    model.eval()
    right = sum(int((model(batch).argmax(1) == labels).sum()) for batch, labels in loader)
    return right / len(images)
