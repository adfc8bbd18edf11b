"""Where and with what a study was played: what a reader needs to play it again, and nothing that names a person."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from simulator.study.timelines import PlayedTimeline

__all__ = ["facts"]

_PACKAGES = ("ebbdoor", "torch", "torchvision", "numpy", "scipy")


def facts(played: Sequence[PlayedTimeline]) -> dict[str, str]:
    """Return what is known without being told: name -> text. The machine is the one that writes the document."""
    seeds = sorted({one.timeline.seed for one in played})
    seconds = sum(float(one.beside.get("seconds", 0.0)) for one in played)
    threads = sorted({one.timeline.scenario.threads for one in played})
    return {
        "Date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "Machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "Threads of a timeline": ", ".join(map(str, threads)),
        "Versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in _PACKAGES)]
        ),
        "Timelines": str(len(played)),
        "Settings": str(len({one.timeline.setting for one in played})),
        "Seeds": _spans(seeds),
        "Seconds of all timelines": f"{seconds:,.0f} (those that recall what others computed count as played)",
    }


def _processor() -> str:
    """The CPU's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _spans(numbers: Sequence[int]) -> str:
    """`100 to 110, 200`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in spans)
