"""What a worker process of a study serves: playing timelines, one after another or trained together.

An answer holds `failures`, values of errors by timeline name, and `said`, sentences on what is trained alone and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from simulator.production.training.device import bound_memory, pin_threads
from simulator.study.play import play_here
from simulator.study.timelines import Timeline
from simulator.system.messages import Method, Tensors, failure_values


@contextmanager
def methods() -> Iterator[Mapping[str, Method]]:
    """Give the methods of a study's worker process by name."""
    yield {"greet": _greet, "play": _play, "play_together": _play_together}


def _greet(arguments: dict[str, Any], _: dict[str, Tensor]) -> tuple[None, Tensors]:
    """Pin this process's threads, and bound the memory that it takes of each device to a share."""
    pin_threads(arguments["threads"])
    for device in arguments["devices"]:
        bound_memory(device, arguments["share"])
    return None, {}


def _play(arguments: dict[str, Any], _: dict[str, Tensor]) -> tuple[dict[str, Any], Tensors]:
    folder, cache = Path(arguments["folder"]), arguments["cache"]
    failures = {}
    for timeline in _timelines(arguments):
        try:
            play_here(timeline, folder, None if cache is None else Path(cache))
        except Exception as error:  # noqa: BLE001  a third-party plug-in may raise anything; it ends its timeline alone
            failures[timeline.name] = failure_values(error, f"timeline '{timeline.name}'")
    return {"failures": failures, "said": []}, {}


def _play_together(arguments: dict[str, Any], _: dict[str, Tensor]) -> tuple[dict[str, Any], Tensors]:
    from simulator.study.executors.cohort import Cohort

    timelines, said = _timelines(arguments), list[str]()
    cohort = Cohort(members=len(timelines), limit=arguments["limit"], processes=1, say=said.append)
    failures = {
        end.name: failure_values(end.error, f"timeline '{end.name}'")
        for end in cohort.play(timelines, Path(arguments["folder"]), None)
        if end.error is not None
    }
    return {"failures": failures, "said": said}, {}


def _timelines(arguments: Mapping[str, Any]) -> list[Timeline]:
    return [Timeline.of(values) for values in arguments["timelines"]]
