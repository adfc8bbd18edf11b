"""Every registered defense on models with and without a planted patch, at its default options.

For each seed a model is trained on a window with 5 % poison, and one on the same rows without. Each defense is called
as its surface is, with trusted images that neither was trained on; figures are taken on test images that no defense
sees. A defense that looks back is called for each update of a clean model, and measured on the last, with poison and
without. Nothing here chooses an option. Results of parts go to files that later calls read.

    python -m benchmarks.defenses --source digits --network resnet20 --format json > digits.json
    python -m benchmarks.defenses --source cifar10 --cifar10 cifar10.npz --format json > cifar10.json
    python -m benchmarks.defenses --read digits.json --read cifar10.json --write docs/defenses.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.defenses.lab import SIZES, USUAL, Lab, Sizes, lab
from benchmarks.defenses.lineage import Lineage, lineage
from benchmarks.defenses.measure import measured, registered
from benchmarks.defenses.tables import KEPT, PAGE
from benchmarks.results_page import Measured, Result
from simulator.errors import EbbdoorError
from simulator.scenario import catalog
from simulator.scenario.model import Use
from simulator.world.sources.base import SourceData
from simulator.world.world import load_source

_SOURCES = ("fashion-mnist", "digits", "cifar10")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or read what was measured; print tables or JSON, and write the tables into a page where asked."""
    torch.set_num_threads(1)
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if not chosen.read and chosen.source == "cifar10" and chosen.cifar10 is None:
        parser.error("expected --cifar10 FILE for the source cifar10, got none; write its images to an npz file")
    unknown = set(chosen.defense) - catalog.names("defenses").keys()
    if unknown:
        parser.error(f"expected --defense to name registered ones, got {', '.join(sorted(unknown))}")
    try:
        about = {key: getattr(chosen, key) for key in KEPT}
        found = PAGE.read(chosen.read) if chosen.read else Measured.now(list(_measured(chosen)), about)
    except EbbdoorError as error:
        sys.exit(str(error))
    PAGE.report(found, chosen.write, as_json=chosen.format == "json")


def _measured(chosen: argparse.Namespace) -> Iterator[Result]:
    options: dict[str, Any] = {"path": str(chosen.cifar10)} if chosen.source == "cifar10" else {}
    use = "npz" if chosen.source == "cifar10" else chosen.source
    data = load_source(Use.model_validate({"use": use, **options}))
    sizes, names = SIZES.get(chosen.source, USUAL), chosen.defense or list(registered())
    for seed in chosen.seeds:
        labs = {planted: lab(data, sizes, chosen.network, seed, planted=planted) for planted in (True, False)}
        line = cache(partial(_line, data, sizes, labs[False]))  # trained once a seed, and only where it is asked for
        for planted, found in labs.items():
            _tell(
                f"seed {seed}, {'planted' if planted else 'clean'}: attack success "
                f"{found.attack_success(found.model):.2f}, accuracy {found.accuracy(found.model):.2f}"
            )
            for name in names:
                result = measured(name, found, line)
                _tell(f"  {name}: {result['status']} {result.get('reason', '')}")
                where = {"source": chosen.source, "network": chosen.network, "seed": seed, "planted": planted}
                yield {"defense": name, **where, **result}


def _line(data: SourceData, sizes: Sizes, base: Lab) -> Lineage:
    found = lineage(data, sizes, base)
    for planted, last in found.last.items():
        success, accuracy = last.attack_success(last.model), last.accuracy(last.model)
        _tell(f"  {'planted' if planted else 'clean'} update: attack success {success:.2f}, accuracy {accuracy:.2f}")
    return found


def _tell(line: str) -> None:
    sys.stderr.write(f"{line.rstrip()}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.defenses", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--source", choices=_SOURCES, default="fashion-mnist")
    parser.add_argument("--cifar10", type=Path, help="npz file of CIFAR-10 for the source cifar10")
    parser.add_argument("--network", default="compact-cnn", help="name or module:Name of the network")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="two models for each")
    parser.add_argument("--defense", nargs="+", default=[], help="only these; every registered one if left out")
    parser.add_argument("--read", type=Path, action="append", default=[], help="JSON written before; measures nothing")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--write", type=Path, help="page whose tables, between two markers, to write anew")
    return parser


if __name__ == "__main__":
    main()
