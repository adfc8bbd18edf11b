"""The process in which timelines are played: `python -m simulator.study.worker DESCRIPTOR`. One timeline a request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch import Tensor

from simulator.failures import failure_values
from simulator.production.training.device import pin_threads
from simulator.study.play import play_here
from simulator.study.timelines import Timeline
from simulator.wire import end_with_parent, serve

__all__: list[str] = []


def _answer(message: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if "threads" in message:
        pin_threads(message["threads"])
        return {}, {}
    timeline = Timeline.of(message["timeline"])
    try:
        play_here(timeline, Path(message["folder"]), Path(message["cache"]) if message["cache"] else None)
    except Exception as error:  # noqa: BLE001  a stranger's plug-in may raise anything; the parent tells it in a sentence
        return failure_values(error, f"timeline '{timeline.name}'"), {}
    return {}, {}


if __name__ == "__main__":
    end_with_parent()
    serve(int(sys.argv[1]), _answer)
