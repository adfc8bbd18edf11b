"""Where training runs, and on how many threads."""

from __future__ import annotations

import torch

from simulator.errors import ScenarioError

__all__ = ["bound_memory", "choose_device", "peak_memory", "pin_threads"]


def choose_device(text: str) -> torch.device:
    """Return the device that `text` names: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text == "auto":
        return torch.device("cuda" if count else "cpu")
    kind, colon, number = text.partition(":")
    if text != "cpu" and (kind != "cuda" or (colon and not number.isdecimal())):
        raise ScenarioError(f"expected device to be auto, cpu, cuda or cuda:N, got '{text}'; correct it")
    if kind == "cuda" and int(number or 0) >= count:
        raise ScenarioError(
            f"expected device to be present, got '{text}' with {count} CUDA devices usable by this torch; "
            "use auto or cpu"
        )
    return torch.device(text)


def pin_threads(count: int) -> None:
    """Let torch use `count` threads in this process: results depend on it, so a scenario states it."""
    if count < 1:
        raise ScenarioError(f"expected threads to be at least 1, got {count}; correct it")
    torch.set_num_threads(count)


def bound_memory(device: str, share: float) -> None:
    """Let torch take at most `share` in (0, 1] of the memory of a CUDA device in this process; no-op on a CPU."""
    place = choose_device(device)
    if place.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(share, place.index)


def peak_memory(device: torch.device) -> int | None:
    """Return the most bytes that this process's tensors held on a CUDA `device` at once; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
