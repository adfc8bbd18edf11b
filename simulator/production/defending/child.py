"""The process of one call of a defense: what it gives up before a stranger's code is imported, and how it answers."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from defenses.base import Size
from simulator.errors import EbbdoorError
from simulator.production.defending.answers import SLOW, as_values
from simulator.production.defending.facts import facts_of
from simulator.production.defending.job import Job, run_job
from simulator.production.defending.prepared import CONFINEMENT
from simulator.production.training.networks import network_of
from simulator.system.descendants import end_with_parent, own_bytes
from simulator.system.messages import Channel, ChannelClosed, Tensors, failure_values
from simulator.tensors import weights_of


def answer(method: str, arguments: dict[str, Any], blob: bytes, answering: int, printing: int) -> None:
    """Do what `method` asks for and send the answer on the socket `answering`; what is printed goes to `printing`.

    Does not return: a copy of this process that a defense has forked ends here without a word.
    """
    process, parent = os.getpid(), os.getppid()
    os.setsid()
    end_with_parent(parent)
    _keep_only(printing, {answering, CONFINEMENT.descriptor})
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(arguments)
    torch.set_num_threads(arguments["threads"])
    confined = _confined(arguments)
    sys.path[:0] = arguments["folders"]  # only now: what lies there is a stranger's
    channel = Channel(socket.socket(fileno=answering))
    values, tensors = _METHODS[method](arguments, blob)
    if os.getpid() == process:
        with suppress(ChannelClosed):
            said = values | {"confined": confined, "imported": [name for name in SLOW if name in sys.modules]}
            channel.send_bytes(json.dumps(said).encode(), save(dict(tensors)))
    _flush()
    os._exit(0)


def _facts(arguments: dict[str, Any], _: bytes) -> tuple[dict[str, Any], Tensors]:
    try:
        size = None if arguments["size"] is None else Size(*arguments["size"])
        return {"facts": facts_of(arguments["use"], arguments["options"], size).model_dump(mode="json")}, {}
    except EbbdoorError as error:
        return {"failure": failure_values(error, f"defense '{arguments['use']}'")}, {}


def _run(arguments: dict[str, Any], blob: bytes) -> tuple[dict[str, Any], Tensors]:
    tensors = load(blob)
    return as_values(run_job(Job.model_validate(arguments["job"]), tensors))


def _weights(arguments: dict[str, Any], _: bytes) -> tuple[dict[str, Any], Tensors]:
    try:
        return {}, weights_of(network_of(arguments["architecture"], seed=0))
    except EbbdoorError as error:
        return {"failure": failure_values(error, "a network")}, {}


_METHODS = {"facts": _facts, "run": _run, "weights": _weights}


def _keep_only(printing: int, ours: Iterable[int]) -> None:
    """Close every descriptor that is not this call's, and print to `printing`."""
    os.dup2(printing, 1)
    os.dup2(printing, 2)
    beginning = 3
    for kept in sorted(descriptor for descriptor in ours if descriptor >= beginning):
        os.closerange(beginning, kept)
        beginning = kept + 1
    os.closerange(beginning, max(beginning, os.sysconf("SC_OPEN_MAX")))


def _limit_memory(arguments: dict[str, Any]) -> None:
    """Refuse this process more than its memory at once, which who looks every half second may not see.

    Not with a GPU, whose driver reserves far more addresses than it uses.
    """
    if arguments.get("job", {}).get("device", "cpu") == "cpu":
        taken = own_bytes("VmData")
        most = taken + arguments["memory"]
        with suppress(OSError, ValueError):  # a lower limit of the system's own holds
            if taken:
                resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _confined(arguments: dict[str, Any]) -> str:
    if not arguments["confine"]:
        return "not confined: the scenario asks for that, or the device is no CPU"
    return CONFINEMENT.confine(Path(os.environ["TMPDIR"]))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
