"""`python -m benchmarks.gpu`: cohorts and ResNet-18 on one CUDA device, against that device's own peaks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from benchmarks.gpu.clock import utilisation_missing
from benchmarks.gpu.residual import measure_residual
from benchmarks.gpu.roofline import measure_peaks
from benchmarks.gpu.sizes import TINY, WHOLE, Sizes
from benchmarks.gpu.table import table
from benchmarks.gpu.timelines import measure_timelines, standard_timelines
from benchmarks.gpu.training import measure_training
from simulator.errors import EbbdoorError, ScenarioError
from simulator.production.training.device import choose_device
from simulator.study.executors.cohort import processes_for


def measure(device: torch.device, sizes: Sizes, processes: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return `peaks`, `timelines`, `training` and `resnet18` (see the functions of these names), and what ran them.

    `processes`: of the cohort that is played in several.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    say(f"{name}: its peaks")
    peaks = measure_peaks(device, sizes)
    timelines = measure_timelines(device, sizes, processes, say)
    say("the base training of these timelines by itself")
    training = measure_training(device, sizes, peaks)
    residual = measure_residual(device, sizes, say)
    missing = utilisation_missing(device)
    about = {
        "device": name,
        "torch": torch.__version__,
        "tiny": sizes.base < WHOLE.base,
        "not_measured": {} if missing is None else {"utilisation": missing},
    }
    return {**about, "peaks": peaks, "timelines": timelines, "training": training, "resnet18": residual}


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a table or JSON; progress and errors go to stderr."""
    chosen = _parser().parse_args(arguments)
    try:
        device = _device(chosen.device, chosen.tiny)
        sizes = _sizes(chosen)
        found = measure(device, sizes, _processes(chosen, device, sizes), _say)
    except EbbdoorError as error:
        _say(f"bench-gpu: {error}")
        sys.exit(error.exit_code)
    sys.stdout.write((json.dumps(found) if chosen.format == "json" else table(found)) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu with --tiny")
    parser.add_argument("--tiny", action="store_true", help="run all of it on a tiny amount of data")
    parser.add_argument("--timelines", type=int, help="how many as a cohort; default: 64, tiny: 2")
    parser.add_argument("--alone", type=int, help="how many of them also one after another; default: 4, tiny: 1")
    parser.add_argument("--processes", type=int, help="of the cohort in several; default: as the executor, at least 2")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    return parser


def _device(text: str, tiny: bool) -> torch.device:
    if text.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise ScenarioError(
            "expected a CUDA device, got none; run this on a machine that has one, "
            "or see the programme run with --device cpu --tiny"
        )
    device = choose_device(text)
    if device.type != "cuda" and not tiny:
        raise ScenarioError(f"expected a CUDA device for the whole measurement, got {device}; add --tiny")
    return device


def _sizes(chosen: argparse.Namespace) -> Sizes:
    whole = TINY if chosen.tiny else WHOLE
    timelines = whole.timelines if chosen.timelines is None else chosen.timelines
    alone = min(whole.alone, timelines) if chosen.alone is None else chosen.alone
    if timelines < 2:
        raise ScenarioError(f"expected --timelines to be at least 2, got {timelines}; a cohort has members")
    if not 1 <= alone <= timelines:
        raise ScenarioError(f"expected --alone to be from 1 to {timelines}, got {alone}; correct it")
    return replace(whole, timelines=timelines, alone=alone)


def _processes(chosen: argparse.Namespace, device: torch.device, sizes: Sizes) -> int:
    if chosen.processes is None:
        return max(2, processes_for(standard_timelines(device, sizes), sizes.timelines))
    if not 2 <= chosen.processes <= sizes.timelines:
        raise ScenarioError(
            f"expected --processes to be from 2 to {sizes.timelines}, got {chosen.processes}; each plays a timeline"
        )
    return int(chosen.processes)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
