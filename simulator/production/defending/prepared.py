"""What the process that defenses are forked from makes ready, so that no call has to: its fork has it already."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import torch
from torch import nn

from defenses.base import Defense
from simulator.errors import PluginError
from simulator.production.defending.private_files import is_private
from simulator.production.training.networks import network_of
from simulator.scenario import catalog
from simulator.system.confine import Confinement
from simulator.system.startup import beginning

#: networks of ours that were built and tried, by their architecture; filled in a process of which only forks use them
_NETWORKS: Final[dict[str, nn.Module]] = {}
#: defenses of ours by name and options, likewise
_DEFENSES: Final[dict[str, Defense]] = {}
#: what forks confine themselves to
CONFINEMENT: Final = Confinement(is_private)


def prepare(modules: Iterable[str], architecture: Mapping[str, Any] | None) -> None:
    """Import modules of ours, and build and try a network of ours, which compiles its kernels.

    On one thread, for several would not survive a fork.
    """
    torch.set_num_threads(1)
    with beginning():
        for module in modules:
            with suppress(ImportError):  # its own call will say so
                importlib.import_module(module)
        catalog.names("defenses")
        if architecture is not None:
            _NETWORKS[_key(architecture)] = network_of(architecture, seed=0)


def network_to_load(architecture: Mapping[str, Any], *, seed: int) -> nn.Module:
    """Return a network of this architecture that takes weights: one made ready, else a new one made from `seed`.

    One that was made ready is used up: whoever asks again gets a new one.
    """
    ready = _NETWORKS.pop(_key(architecture), None)
    return network_of(architecture, seed=seed) if ready is None else ready


def keep_defense(use: str, options: Mapping[str, Any], construct: Callable[[], Defense]) -> None:
    """Construct a defense, unless that was done before; it is never called in this process, only in forks."""
    key = _key({"use": use, "options": options})
    if key not in _DEFENSES:
        with suppress(PluginError):  # its own call will say so
            _DEFENSES[key] = construct()


def kept_defense(use: str, options: Mapping[str, Any]) -> Defense | None:
    """Return the defense that was kept, which was never called, and forget it; None where there is none."""
    return _DEFENSES.pop(_key({"use": use, "options": options}), None)


def _key(architecture: Mapping[str, Any]) -> str:
    return json.dumps(architecture, sort_keys=True)
