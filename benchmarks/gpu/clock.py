"""Seconds of a device's work, the memory that it took, and the device's utilisation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    with _sampled(device) as shares:
        began = time.perf_counter()
        found = work()
        synchronise(device)
        seconds = time.perf_counter() - began
    memory = torch.cuda.max_memory_allocated(device) if on_gpu else None
    return found, Cost(seconds, memory, fmean(shares) if shares else None)


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


@contextmanager
def _sampled(device: torch.device) -> Iterator[list[float]]:
    """Sample the device's utilisation from a thread of its own; no samples where pynvml is not installed."""
    shares: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_EVERY) and utilisation_missing(device) is None:
            shares.append(torch.cuda.utilization(device) / 100)

    thread = threading.Thread(target=watch, daemon=True)
    if device.type == "cuda":
        thread.start()
    try:
        yield shares
    finally:
        over.set()
        if device.type == "cuda":
            thread.join()
