"""Standard timelines as cohorts, against one after another."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from benchmarks.gpu.clock import timed
from benchmarks.gpu.sizes import Sizes
from simulator.bench.standard import CURVES, resized
from simulator.production.registry.base import Entry
from simulator.production.training.cuda_graphs import no_recorder, recording_with
from simulator.scenario.model import Scenario
from simulator.study.executors.cohort import Cohort, parts_of
from simulator.study.play import play_here, read_timeline
from simulator.study.timelines import Timeline

#: how many times the throughput of timelines one after another a cohort should have
TARGET = 15.0

Say = Callable[[str], None]


@final
@dataclass(frozen=True, slots=True)
class _Way:
    """A way to play timelines: `processes` of a cohort, 0 for one after another; `recorded`: steps as CUDA graphs."""

    name: str
    processes: int
    recorded: bool = True


def standard_timelines(device: torch.device, sizes: Sizes) -> tuple[Timeline, ...]:
    """Return the standard timeline at the seeds 0, 1, ..., on `device`."""
    values = resized(sizes.base, sizes.fresh, sizes.test, sizes.periods, sizes.epochs) | {"device": str(device)}
    scenarios = [Scenario.model_validate({**values, "seed": seed}) for seed in range(sizes.timelines)]
    return tuple(
        Timeline("bench", "main", {}, seed, "main", f"main-s{seed}", scenario)
        for seed, scenario in enumerate(scenarios)
    )


def measure_timelines(device: torch.device, sizes: Sizes, processes: int, say: Say) -> dict[str, Any]:
    """Play the first `sizes.alone` one after another and all as a cohort, in one process and in `processes`.

    `ways` holds what each took: both in this process also with every step done by itself (`recorded` false). All write
    their ledgers into a folder that is removed, keep versions in memory and use no cache. `seconds_a_timeline` tells
    them apart, `ratio` is how many times fewer the best cohort needs than one after another does. `differences`: the
    greatest between readings of a cohort and of one after another. Raises what a timeline raised.
    """
    timelines = standard_timelines(device, sizes)
    ways = [_Way("alone", 0), _Way("cohort", 1), _Way("cohort-apart", processes)]
    if device.type == "cuda":
        ways[1:1] = [_Way("alone-unrecorded", 0, recorded=False), _Way("cohort-unrecorded", 1, recorded=False)]
    with tempfile.TemporaryDirectory(prefix="ebbdoor-bench-") as folder:
        say("one timeline to load the device's libraries")
        play_here(timelines[0], Path(folder) / "warm", None)
        found = {}
        for way in ways:
            mine = timelines if way.processes else timelines[: sizes.alone]
            say(f"{len(mine)} timelines: {way.name}")
            found[way.name] = _played(way, mine, device, Path(folder) / way.name, say)
        others = _lines(Path(folder) / "alone", timelines[: sizes.alone])
        together = [_lines(Path(folder) / way.name, timelines[: sizes.alone]) for way in ways if way.processes]
    each = {name: way["seconds_a_timeline"] for name, way in found.items()}
    return {
        "timelines": sizes.timelines,
        "ways": found,
        "ratio": each["alone"] / min(seconds for name, seconds in each.items() if found[name]["processes"]),
        "target": TARGET,
        "differences": _differences([line for lines in together for line in lines], others * len(together)),
    }


def _played(way: _Way, timelines: Sequence[Timeline], device: torch.device, folder: Path, say: Say) -> dict[str, Any]:
    """The cost of a way; `starting_seconds`: until every process had its first timelines."""
    began, starts = time.perf_counter(), list[float]()
    with ExitStack() as recording:
        if not way.recorded:
            recording.enter_context(recording_with(no_recorder))
        _, cost = timed(device, lambda: _play(way, timelines, folder, say, lambda: starts.append(time.perf_counter())))
    lines = _lines(folder, timelines)
    images = sum(int(entry.record.training["samples"]) for line in lines for entry in line)
    return {
        "timelines": len(timelines),
        "processes": way.processes,
        "recorded": way.recorded and device.type == "cuda",
        "seconds": cost.seconds,
        "seconds_a_timeline": cost.seconds / len(timelines),
        "starting_seconds": max(starts) - began if way.processes > 1 else 0.0,
        "peak_memory_bytes": _held(way, list(zip(timelines, lines, strict=True)), cost.peak_memory_bytes),
        "utilisation": cost.utilisation,
        "images": images,
        "images_per_second": images / cost.seconds,
    }


def _play(way: _Way, timelines: Sequence[Timeline], folder: Path, say: Say, begun: Callable[[], None]) -> None:
    if not way.processes:
        for timeline in timelines:
            play_here(timeline, folder, None)
        return
    cohort = Cohort(len(timelines), say=say, processes=way.processes)
    for end in cohort.play(timelines, folder, None, lambda name: begun()):
        if end.error is not None:
            raise end.error


def _held(way: _Way, lines: Sequence[tuple[Timeline, Sequence[Entry]]], here: int | None) -> int | None:
    """The most bytes that tensors held: in this process, or the sum over processes of what each held at most."""
    if way.processes <= 1 or here is None:
        return here
    peaks = {
        timeline.name: max(int(entry.metadata["device_memory_bytes"]) for entry in line) for timeline, line in lines
    }
    parts = parts_of([timeline for timeline, _ in lines], math.ceil(len(lines) / way.processes))
    return sum(max(peaks[timeline.name] for timeline in part) for part in parts)


def _lines(folder: Path, timelines: Sequence[Timeline]) -> list[Sequence[Entry]]:
    played = [read_timeline(folder, timeline) for timeline in timelines]
    return [one.entries["main"] for one in played if one is not None]


def _differences(lines: Sequence[Sequence[Entry]], others: Sequence[Sequence[Entry]]) -> dict[str, float]:
    pairs = [pair for line, other in zip(lines, others, strict=True) for pair in zip(line, other, strict=True)]
    return {name: max(_apart(reading, *pair) for pair in pairs) for name, reading in CURVES.items()}


def _apart(reading: str, one: Entry, other: Entry) -> float:
    mine, theirs = (entry.record.readings[reading].value for entry in (one, other))
    if mine is None or theirs is None:
        return 0.0 if mine is theirs else math.inf
    return abs(mine - theirs)
