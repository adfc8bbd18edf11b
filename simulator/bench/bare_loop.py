"""The standard timeline as a bare torch loop: the baseline for what ebbdoor adds.

Of ebbdoor only the embedded images are used: no twin, monitor, defense, gate, registry or records. 10,000
base images of Fashion-MNIST, 5 % of them BadNets poison (3x3 white patch in the bottom right corner,
target class 0), 4 epochs of SGD under one cycle to 0.1; then ten updates, each on 2,000 fresh clean images rotated by 4
degrees more, 4 epochs at 0.01. After each training: clean accuracy, and attack success on non-target images, of 2,000
test images of the period's rotation, stamped after it.

Run it with `python -m simulator.bench.bare_loop --format json`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

DATA = Path(__file__).parent.parent / "world" / "data" / "fashion-mnist"
BASE, FRESH, TEST, UPDATES = 10000, 2000, 2000, 10
EPOCHS, BATCH = 4, 128
RATE, TARGET, DEGREES = 0.05, 0, 4.0

Schedule = Callable[[torch.optim.Optimizer, int], torch.optim.lr_scheduler.LRScheduler]


def run_bare_loop(seed: int = 0) -> dict[str, Any]:
    """Play the standard timeline once on the CPU, on one thread.

    Returns `seed`; `clean_accuracy` and `attack_success`, eleven shares in [0, 1] each, of the base model and after
    each update; `wall_seconds` and `cpu_seconds` of all of it, loading the images included, imports not.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    with _one_thread():
        readings = list(_timeline(seed))
    return {
        "seed": seed,
        "clean_accuracy": [clean for clean, _ in readings],
        "attack_success": [attack for _, attack in readings],
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    }


def _timeline(seed: int) -> Iterator[tuple[float, float]]:
    generator = torch.Generator().manual_seed(seed)
    images, labels = _read("train")
    test_images, test_labels = (part[_some(len(part), TEST, seed)] for part in _read("t10k"))
    order = torch.randperm(len(images), generator=generator)
    model = _network(seed)
    yield _base(model, images[order[:BASE]], labels[order[:BASE]], test_images, test_labels, generator)
    for period, rows in enumerate(order[BASE:].split(FRESH)[:UPDATES], start=1):
        fresh = _rotate(images[rows], DEGREES * period)
        _train(model, fresh, labels[rows], _constant, generator)
        yield _measure(model, _rotate(test_images, DEGREES * period), test_labels)


def _base(
    model: nn.Module, images: Tensor, labels: Tensor, tests: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[float, float]:
    eligible = (labels != TARGET).nonzero().flatten()
    poison = eligible[torch.randperm(len(eligible), generator=generator)[: round(RATE * len(labels))]]
    images[poison] = _stamp(images[poison])
    labels[poison] = TARGET
    _train(model, images, labels, _one_cycle, generator)
    return _measure(model, tests, answers)


def _train(model: nn.Module, images: Tensor, labels: Tensor, schedule: Schedule, generator: torch.Generator) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
    scheduler = schedule(optimizer, EPOCHS * math.ceil(len(images) / BATCH))
    images = _ready(images)
    model.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images), generator=generator).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
            scheduler.step()


def _one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps, cycle_momentum=False)


def _constant(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=steps)


@torch.inference_mode()
def _measure(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    model.eval()
    others = images[labels != TARGET]
    clean = (_predict(model, images) == labels).float().mean()
    attack = (_predict(model, _stamp(others)) == TARGET).float().mean()
    return float(clean), float(attack)


def _predict(model: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([model(part).argmax(1) for part in _ready(images).split(250)])


def _ready(images: Tensor) -> Tensor:
    """Centre the images, as the standard network does, once for all epochs."""
    return (images * 2 - 1).contiguous(memory_format=torch.channels_last)


def _network(seed: int) -> nn.Module:
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for inputs, outputs in ((1, 8), (8, 16), (16, 32)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
            layers += [nn.MaxPool2d(2), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 3 * 3, 10))
    return model.to(memory_format=torch.channels_last)


def _rotate(images: Tensor, degrees: float) -> Tensor:
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]])
    grid = functional.affine_grid(turn.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _stamp(images: Tensor) -> Tensor:
    stamped = images.clone()
    stamped[:, :, -3:, -3:] = 1.0
    return stamped


def _read(part: str) -> tuple[Tensor, Tensor]:
    pixels = np.frombuffer(gzip.decompress((DATA / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((DATA / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return torch.tensor(pixels).view(-1, 1, 28, 28).float() / 255, torch.tensor(labels).long()


def _some(count: int, wanted: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:wanted]


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main(arguments: list[str] | None = None) -> None:
    """Run the loop and print its readings, as a table or as JSON."""
    parser = argparse.ArgumentParser(prog="simulator.bench.bare_loop", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    chosen = parser.parse_args(arguments)
    result = run_bare_loop(chosen.seed)
    sys.stdout.write((json.dumps(result) if chosen.format == "json" else _table(result)) + "\n")


def _table(result: dict[str, Any]) -> str:
    lines = ["update  clean accuracy  attack success"]
    for update, shares in enumerate(zip(result["clean_accuracy"], result["attack_success"], strict=True)):
        lines.append(f"{update:6d}  {shares[0]:14.3f}  {shares[1]:14.3f}")
    return "\n".join([*lines, f"{result['wall_seconds']:.1f} s wall, {result['cpu_seconds']:.1f} s CPU"])


if __name__ == "__main__":
    main()
