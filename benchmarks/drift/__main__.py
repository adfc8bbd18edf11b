"""Drift scores against the true drift, and alarms without drift.

A champion is trained for each source and seed. Every trial draws a reference and a batch that it was not trained on,
lets the batch drift, and asks the monitors. Results of parts go to files that later calls read.

    python -m benchmarks.drift --sources digits --format json > digits.json
    python -m benchmarks.drift --sources cifar10 --cifar10 cifar10.npz --format json > cifar10.json
    python -m benchmarks.drift --read digits.json --read cifar10.json --write docs/drift.md
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.drift.champion import champion
from benchmarks.drift.tables import KEPT, PAGE
from benchmarks.drift.trials import trials
from benchmarks.results_page import Measured, Result
from simulator.errors import EbbdoorError


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or read what was measured; print tables or JSON, and write the tables into a page where asked."""
    torch.set_num_threads(1)
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if not chosen.read and "cifar10" in chosen.sources and chosen.cifar10 is None:
        parser.error("expected --cifar10 FILE for the source cifar10, got none; write its images to an npz file")
    try:
        about = {key: getattr(chosen, key) for key in KEPT}
        found = PAGE.read(chosen.read) if chosen.read else Measured.now(list(_measured(chosen)), about)
    except EbbdoorError as error:
        sys.exit(str(error))
    PAGE.report(found, chosen.write, as_json=chosen.format == "json")


def _measured(chosen: argparse.Namespace) -> Iterator[Result]:
    lines = [(source, seed) for source in chosen.sources for seed in chosen.seeds]
    for number, (source, seed) in enumerate(lines, 1):
        options: dict[str, Any] = {"path": str(chosen.cifar10)} if source == "cifar10" else {}
        made = champion(source, options, seed, chosen.network)
        parts = list(trials(made, chosen.draws, chosen.undrifted, chosen.references, chosen.per_reference))
        start = time.monotonic()
        for done, (name, measure) in enumerate(parts, 1):
            for result in measure():
                yield {"source": source, "seed": seed, **result}
            left = (time.monotonic() - start) / done * (len(parts) - done) / 60
            sys.stderr.write(f"{number}/{len(lines)} {source}, seed {seed}: {name}; {left:.0f} min left for it\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sources", nargs="+", default=["fashion-mnist", "digits"])
    parser.add_argument("--cifar10", type=Path, help="npz file of CIFAR-10 for the source cifar10")
    parser.add_argument("--network", default="standard-cnn", help="name or module:Name of the champion's network")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="a champion of its own for each")
    parser.add_argument("--draws", type=int, default=20, help="batches for each magnitude of a drift")
    parser.add_argument("--undrifted", type=int, default=200, help="periods without drift")
    parser.add_argument("--references", type=int, default=6, help="references that undrifted batches are compared with")
    parser.add_argument("--per-reference", type=int, default=40, help="periods without drift for each of them")
    parser.add_argument("--read", type=Path, action="append", default=[], help="JSON written before; measures nothing")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--write", type=Path, help="page whose tables, between two markers, to write anew")
    return parser


if __name__ == "__main__":
    main()
