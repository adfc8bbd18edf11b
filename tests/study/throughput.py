"""How much faster a study plays sixteen lines than sixteen runs of one line each, one after another.

    python tests/study/throughput.py [--pairs N]

Four learning rates x two seeds, each attacked and never attacked: eight timelines with their twins in the study, with
an empty cache and a worker a core; sixteen processes of one thread that play one line each without stores, one after
another. Both pay for their imports and for reading the data. Prints wall and processor seconds of each, and the ratio
of the wall times, the median over `--pairs` alternating pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

STUDY: dict[str, Any] = {
    "name": "throughput",
    "scenario": {
        "periods": 6,
        "device": "cpu",
        "drift": [{"use": "rotation", "degrees": 5}],
        "attack": {"use": "patch", "target": 0, "size": 3},
        "campaign": {"use": "one-shot", "period": 0, "rate": 0.05},
        "probes": [{"use": "attack-success"}, {"use": "dose"}],
        "recipe": {"update": {"epochs": 2}},
    },
    "grid": {"recipe.update.schedule.rate": [0.01, 0.02, 0.05, 0.1]},
    "seeds": [0, 1],
}


def main() -> None:
    """Measure the pairs and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--line", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.line is not None:
        play_one(json.loads(given.line))
        return
    ratios = []
    for pair in range(given.pairs):
        study, runs = measured(play_study), measured(play_separately)
        ratios.append(runs["wall"] / study["wall"])
        print(json.dumps({"pair": pair, "study": study, "separate": runs, "ratio": round(ratios[-1], 2)}), flush=True)
    print(f"median ratio of {given.pairs}: {median(ratios):.2f}")


def measured(work: Callable[[Path], None]) -> dict[str, float]:
    """Return wall and processor seconds of `work` and the processes it waits for, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="ebbdoor-throughput-"))
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        work(folder)
    finally:
        shutil.rmtree(folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": round(time.perf_counter() - wall, 1), "cpu": round(spent, 1)}


def play_study(folder: Path) -> None:
    """Play the study as a user does."""
    path = folder / "throughput.yaml"
    path.write_text(json.dumps(STUDY))  # JSON is YAML
    command = [sys.executable, "-m", "flows.cli", "study", str(path), "--no-prefect", "--display", "none"]
    _run([*command, "--out", str(folder / "study")], folder)


def play_separately(folder: Path) -> None:
    """Play the sixteen lines, each in a process of its own, one after another."""
    for seed in STUDY["seeds"]:
        for rate in STUDY["grid"]["recipe.update.schedule.rate"]:
            for attacked in (True, False):
                line = json.dumps({"seed": seed, "rate": rate, "attacked": attacked})
                _run([sys.executable, __file__, "--line", line], folder)


def play_one(line: dict[str, Any]) -> None:
    """Play one line in this process, its twin left out; one that is not attacked is measured with the trigger too."""
    from simulator.loop.run import lineages_of, open_run, play
    from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
    from simulator.records import LineageKey
    from simulator.scenario.overrides import scenario_of

    keys = {**STUDY["scenario"], "seed": line["seed"], "twins": []}
    keys["recipe"] = {"update": {"epochs": 2, "schedule": {"use": "constant", "rate": line["rate"]}}}
    if not line["attacked"]:  # the rate is one row in ten thousand at most: the work is a twin's
        keys["campaign"] = {"use": "one-shot", "period": 6, "rate": 0.0005}
    scenario = scenario_of(keys)
    assert lineages_of(scenario) == (LineageKey(arm="main"),)
    registry, ledger = MemoryRegistry(), MemoryLedger()
    play(open_run(scenario, registry, ledger, "alone"), scenario, registry, ledger, processes=0)


def _run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "EBBDOOR_WORKSPACE": str(folder), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
