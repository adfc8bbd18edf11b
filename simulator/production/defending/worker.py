"""What the process serves in which third-party defenses run.

It is isolation, not a sandbox: a crash, a hang or a leak stays here, and no store credential is in the environment;
the file system and the network are as open as to any program of the user's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor

from simulator.errors import PluginError
from simulator.production.defending.job import Job, build, run_job
from simulator.system.messages import Method, Tensors


@contextmanager
def methods() -> Iterator[Mapping[str, Method]]:
    """Give the methods of a defense's worker process by name."""
    yield {"prepare": _prepare, "run": _run}


def _prepare(arguments: dict[str, Any], _: dict[str, Tensor]) -> tuple[None, Tensors]:
    """Import and build every defense once, so that no import counts against a call's time limit."""
    for use, options in arguments["uses"]:
        with suppress(PluginError):  # its own call will say so
            build(use, options)
    return None, {}


def _run(arguments: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[dict[str, Any], Tensors]:
    torch.set_num_threads(arguments["threads"])  # before every job: the last one may have changed it
    run = run_job(Job.model_validate(arguments["job"]), tensors)
    value = {"outcome": run.outcome.model_dump(mode="json"), "again": run.again}
    return value, {name: tensor.clone() for name, tensor in run.tensors.items()}
