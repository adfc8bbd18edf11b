"""Standard timelines as a cohort, against one after another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from simulator.bench.gpu.clock import timed
from simulator.bench.gpu.sizes import Sizes
from simulator.bench.standard import CURVES, STANDARD
from simulator.production.registry.base import Entry
from simulator.scenario.model import Scenario
from simulator.study.cohort import Cohort
from simulator.study.play import play_here, read_timeline
from simulator.study.timelines import Timeline

__all__ = ["TARGET", "measure_timelines", "standard_timelines"]

#: how many times the throughput of one after another a cohort is to have
TARGET = 15.0

Say = Callable[[str], None]


def standard_timelines(device: torch.device, sizes: Sizes) -> tuple[Timeline, ...]:
    """Return the standard timeline at the seeds 0, 1, ..., on `device`."""
    recipe = {
        "network": STANDARD["recipe"]["network"],
        **{phase: {**STANDARD["recipe"][phase], "epochs": sizes.epochs} for phase in ("base", "update")},
    }
    stream = {"base": sizes.base, "batch": sizes.fresh, "test": sizes.test}
    whole = {**STANDARD, "device": str(device), "periods": sizes.periods, "stream": stream, "recipe": recipe}
    scenarios = [Scenario.model_validate({**whole, "seed": seed}) for seed in range(sizes.timelines)]
    return tuple(
        Timeline("bench", "main", {}, seed, "main", f"main-s{seed}", scenario)
        for seed, scenario in enumerate(scenarios)
    )


def measure_timelines(device: torch.device, sizes: Sizes, say: Say) -> dict[str, Any]:
    """Play all as a cohort and the first `sizes.alone` one after another; return what each took, and the ratio.

    Both write their ledgers into a folder that is removed, keep versions in memory and recall nothing. What the alone
    would take if all of them were played, `extrapolated_seconds`, is their mean times all; the `ratio` is that over the
    cohort's seconds. `differences`: the greatest between their readings. Raises what a timeline raised.
    """
    timelines = standard_timelines(device, sizes)
    with tempfile.TemporaryDirectory(prefix="ebbdoor-bench-") as folder:
        warm, apart, side = (Path(folder) / name for name in ("warm", "apart", "side"))
        say("one timeline to load the device's libraries")
        _one_after_another(timelines[:1], warm)
        say(f"{sizes.alone} timelines one after another")
        _, alone = timed(device, lambda: _one_after_another(timelines[: sizes.alone], apart))
        say(f"{sizes.timelines} timelines as a cohort; {alone.seconds / sizes.alone:.1f} s each alone")
        _, together = timed(device, lambda: _as_cohort(timelines, side, say))
        lines = [_line(side, timeline) for timeline in timelines]
        others = [_line(apart, timeline) for timeline in timelines[: sizes.alone]]
    images = sum(int(entry.record.training["samples"]) for line in lines for entry in line)
    extrapolated = alone.seconds / sizes.alone * sizes.timelines
    rate = {"images": images, "images_per_second": images / together.seconds}
    return {
        "alone": {"timelines": sizes.alone, **asdict(alone), "extrapolated_seconds": extrapolated},
        "together": {"timelines": sizes.timelines, **asdict(together), **rate},
        "ratio": extrapolated / together.seconds,
        "target": TARGET,
        "differences": _differences(lines, others),
    }


def _one_after_another(timelines: Sequence[Timeline], folder: Path) -> None:
    for timeline in timelines:
        play_here(timeline, folder, None)


def _as_cohort(timelines: Sequence[Timeline], folder: Path, say: Say) -> None:
    for end in Cohort(len(timelines), say=say).play(timelines, folder, None):
        if end.error is not None:
            raise end.error


def _line(folder: Path, timeline: Timeline) -> Sequence[Entry]:
    played = read_timeline(folder, timeline)
    assert played is not None, "a timeline that ended without an error is complete"
    return played.entries["main"]


def _differences(lines: Sequence[Sequence[Entry]], others: Sequence[Sequence[Entry]]) -> dict[str, float]:
    pairs = [pair for line, other in zip(lines, others, strict=False) for pair in zip(line, other, strict=True)]
    return {name: max(_apart(reading, *pair) for pair in pairs) for name, reading in CURVES.items()}


def _apart(reading: str, one: Entry, other: Entry) -> float:
    mine, theirs = (entry.record.readings[reading].value for entry in (one, other))
    return abs((mine or 0.0) - (theirs or 0.0))
