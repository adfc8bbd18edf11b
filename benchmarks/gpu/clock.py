"""Seconds of a device's work, the memory that it took, and the device's utilisation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar, final

import torch

Found = TypeVar("Found")

#: seconds between two samples of the utilisation
_EVERY = 0.2


@final
@dataclass(frozen=True, slots=True)
class Cost:
    """`seconds` of wall time until the device had finished; the other two are None where they cannot be known.

    `peak_memory_bytes` is the most that tensors held at once; `utilisation` in [0, 1] the share of time in which any
    kernel ran, by the driver's own samples.
    """

    seconds: float
    peak_memory_bytes: int | None
    utilisation: float | None


def timed(device: torch.device, work: Callable[[], Found]) -> tuple[Found, Cost]:
    """Return what `work` returns, and what it cost. The device is waited for before and after."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    synchronise(device)
    with _Busy(device) as busy:
        began = time.perf_counter()
        found = work()
        synchronise(device)
        seconds = time.perf_counter() - began
    memory = torch.cuda.max_memory_allocated(device) if on_gpu else None
    return found, Cost(seconds, memory, busy.mean)


def utilisation_missing(device: torch.device) -> str | None:
    """Return why the utilisation of `device` cannot be read; None where it can."""
    if device.type != "cuda":
        return "only a CUDA device's driver tells it"
    try:
        torch.cuda.utilization(device)
    except Exception as error:  # noqa: BLE001  no pynvml, or whatever error of its own that raises
        return f"{type(error).__name__}: install nvidia-ml-py, or read it with nvidia-smi"
    return None


def synchronise(device: torch.device) -> None:
    """Wait until `device` has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@final
class _Busy:
    """Samples the device's utilisation from a thread of its own; only where pynvml is installed."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._shares: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Busy:
        if self._device.type == "cuda":
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def mean(self) -> float | None:
        return fmean(self._shares) if self._shares else None

    def _watch(self) -> None:
        while not self._over.wait(_EVERY):
            if utilisation_missing(self._device) is not None:
                return
            self._shares.append(torch.cuda.utilization(self._device) / 100)
