"""The process in which timelines are played: `python -m simulator.study.executors.worker DESCRIPTOR`.

A request names timelines: they are played one after another, or side by side where it says `cohort`. The answer tells
what failed (`failures`, by timeline), and what was `said` of trainings.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from simulator.production.training.device import bound_memory, pin_threads
from simulator.study.play import play_here
from simulator.study.timelines import Timeline
from simulator.system.worker import end_with_parent, failure_values, serve

__all__: list[str] = []


def _answer(message: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if "threads" in message:
        pin_threads(message["threads"])
        for device in message.get("devices", ()):
            bound_memory(device, message["share"])
        return {}, {}
    timelines, folder = [Timeline.of(values) for values in message["timelines"]], Path(message["folder"])
    if "cohort" in message:
        return _together(timelines, folder, message["cohort"]), {}
    return _one_by_one(timelines, folder, Path(message["cache"]) if message["cache"] else None), {}


def _one_by_one(timelines: Sequence[Timeline], folder: Path, cache: Path | None) -> dict[str, Any]:
    failures = {}
    for timeline in timelines:
        try:
            play_here(timeline, folder, cache)
        except Exception as error:  # noqa: BLE001  a stranger's plug-in may raise anything; the parent tells it in a sentence
            failures[timeline.name] = failure_values(error, f"timeline '{timeline.name}'")
    return {"failures": failures, "said": []}


def _together(timelines: Sequence[Timeline], folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    from simulator.study.executors.cohort import Cohort

    said: list[str] = []
    cohort = Cohort(members=len(timelines), limit=options["limit"], processes=1, say=said.append)
    failures = {
        end.name: failure_values(end.error, f"timeline '{end.name}'")
        for end in cohort.play(timelines, folder, None)
        if end.error is not None
    }
    return {"failures": failures, "said": said}


if __name__ == "__main__":
    end_with_parent()
    serve(int(sys.argv[1]), _answer)
