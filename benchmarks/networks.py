"""Networks side by side: the CPU seconds and the accuracy of one training.

Base training of the standard timeline on clean images: 10,000 of Fashion-MNIST, 4 epochs of SGD in batches of 128, one
cycle to 0.1, on one thread. Each seed draws its rows and trains every network on them, in turning order; accuracy is
that on the 10,000 test images. The first network is what the others are compared with.

    python -m benchmarks.networks --seeds 100-109 --format json > measured.json
    python -m benchmarks.networks --read measured.json --picture docs/pictures/networks-pareto.svg
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.networks_front import picture, summary, table
from simulator.batch import Batch
from simulator.errors import EbbdoorError
from simulator.production.training.evaluate import accuracy
from simulator.production.training.fit import fit
from simulator.production.training.networks import build_network
from simulator.scenario.model import Recipe, Use
from simulator.seeds import generator
from simulator.world.sources.fashion_mnist import FashionMnist

TRIED = ("stride_only", "pool_twice", "pool_first", "average_pool", "no_norm", "thin", "deep", "wide", "patches")
#: those that train in seconds; resnet20 takes a minute and more
NETWORKS = ("standard-cnn", "compact-cnn", *(f"benchmarks.alternatives:{name}" for name in TRIED))


def runs(networks: Sequence[str], seeds: Sequence[int], rows: int = 10000) -> Iterator[dict[str, Any]]:
    """Train each network at each seed on `rows` images, on this thread; yield the result of each training.

    That is `network`, `seed`, `parameters`; `samples` trained on, every pass counted, and the `cpu_seconds` of the
    training alone; `accuracy` in [0, 1] on the test images. Raises `PluginError` for a network that does not fit.
    """
    data = FashionMnist().load()
    train, test = _batch(data.images, data.labels), _batch(data.test_images, data.test_labels)
    for network in networks:  # the first call of an operation also chooses its kernel
        _run(network, _first(train, 256), _first(test, 250), seed=0)
    for turn, seed in enumerate(seeds):
        drawn = train.take(torch.randperm(len(train), generator=generator(seed, "rows"))[:rows])
        start = turn % len(networks)
        for network in (*networks[start:], *networks[:start]):
            yield _run(network, drawn, test, seed)


def _run(network: str, train: Batch, test: Batch, seed: int) -> dict[str, Any]:
    channels, height, width = train.images.shape[1:]
    model = build_network(Use(use=network), channels=channels, size=(height, width), classes=10, seed=seed)
    recipe = Recipe()
    start = time.process_time()
    trained = fit(model, train, recipe.base, recipe, seed=seed, update=False)
    seconds = time.process_time() - start
    return {
        "network": network,
        "seed": seed,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "samples": trained.samples,
        "cpu_seconds": seconds,
        "accuracy": accuracy(trained.model, test),
    }


def _batch(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Batch:
    return Batch(torch.tensor(images).float() / 255, torch.tensor(labels), torch.arange(len(labels)))


def _first(batch: Batch, rows: int) -> Batch:
    return batch.take(torch.arange(rows))


def main(arguments: list[str] | None = None) -> None:
    """Measure, or read what was measured; print a table, or everything as JSON; draw the front where asked."""
    torch.set_num_threads(1)
    chosen = _parser().parse_args(arguments)
    try:
        new = () if chosen.read else runs(chosen.networks, chosen.seeds, chosen.rows)
        measured = [*_read(chosen.read), *_reported(new)]
    except EbbdoorError as error:
        sys.exit(str(error))
    found = summary(measured)
    shown = json.dumps({"networks": found, "runs": measured}) if chosen.format == "json" else table(found)
    sys.stdout.write(shown + "\n")
    if chosen.picture:
        chosen.picture.write_text(picture(found), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.networks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "networks", nargs="*", default=NETWORKS, help="names or module:Name; the first is compared with"
    )
    parser.add_argument("--seeds", type=_seeds, default=(100, 101, 102), help="first-last; default: 100-102")
    parser.add_argument("--rows", type=_rows, default=10000, help="images of each training")
    parser.add_argument(
        "--read", type=Path, action="append", default=[], help="JSON written before; nothing is trained"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--picture", type=Path, help="SVG file for the front")
    return parser


def _seeds(text: str) -> tuple[int, ...]:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise argparse.ArgumentTypeError(f"expected seeds as FIRST-LAST or one number, got '{text}'; write 100-109")
    return tuple(range(first, last + 1))


def _rows(text: str) -> int:
    if not (text.isdecimal() and 2 <= int(text) <= 60000):
        raise argparse.ArgumentTypeError(
            f"expected from 2 to 60000 rows, got '{text}'; as many as there are to train on"
        )
    return int(text)


def _read(paths: Iterable[Path]) -> list[dict[str, Any]]:
    return [run for path in paths for run in _runs_of(path)]


def _runs_of(path: Path) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["runs"]
        summary(found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        sys.exit(f"expected a file that --format json wrote, got {path}: {error}; measure again")
    return found


def _reported(found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for run in found:
        sys.stderr.write(
            f"{run['network']}, seed {run['seed']}: {run['cpu_seconds']:.2f} s CPU, accuracy {run['accuracy']:.4f}\n"
        )
        yield run


if __name__ == "__main__":
    main()
