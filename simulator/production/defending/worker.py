"""The process in which strangers' defenses run: `python -m simulator.production.defending.worker DESCRIPTOR`.

It is isolation, not a sandbox: a crash, a hang or a leak stays here, and no store credential is in the environment;
the file system and the network are as open as to any program of the user's.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

import torch
from torch import Tensor

from simulator.errors import PluginError
from simulator.production.defending.job import Job, build, run_job
from simulator.system.worker import end_with_parent, serve

__all__: list[str] = []


def main(descriptor: int) -> None:
    """Answer jobs on the socket `descriptor` until the parent closes it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process in order
    end_with_parent()
    serve(descriptor, _answer)


def _answer(message: Any, tensors: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    if "prepare" in message:
        return _prepare(message), {}
    torch.set_num_threads(message["threads"])  # before every job: the last one may have changed it
    answer, found = run_job(Job.model_validate(message["job"]), tensors)
    return answer.model_dump(mode="json"), {name: value.clone() for name, value in found.items()}


def _prepare(message: Any) -> dict[str, Any]:
    """Import and build every defense once, so that no import counts against a call's time limit."""
    for use, options in message["prepare"]:
        try:
            build(use, options)
        except PluginError:
            continue  # its own call will say so
    return {"ready": True}


if __name__ == "__main__":
    main(int(sys.argv[1]))
