"""The peaks of a device, measured on it: large matrix products, and copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from benchmarks.gpu.clock import timed
from benchmarks.gpu.sizes import Sizes

#: the best of so many is the peak
_TRIES = 5
#: calls of one try, so that a start weighs little
_CALLS = 10


def measure_peaks(device: torch.device, sizes: Sizes) -> dict[str, float | None]:
    """Return FLOP/s of `float32`, `tf32` (None outside CUDA) and `bfloat16` products, and bytes/s of a `copy`.

    A product counts 2 n^3 operations; a copy its bytes twice, read and written.
    """
    single = torch.ones(sizes.gemm, sizes.gemm, device=device)
    half = single.bfloat16()
    operations = 2.0 * sizes.gemm**3
    with _products_in("highest"):
        peaks: dict[str, float | None] = {"float32": _best(device, operations, lambda: single @ single)}
    peaks["tf32"] = None
    if device.type == "cuda":
        with _products_in("high"):
            peaks["tf32"] = _best(device, operations, lambda: single @ single)
    peaks["bfloat16"] = _best(device, operations, lambda: half @ half)
    source = torch.zeros(sizes.copy, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return {**peaks, "copy": _best(device, 2.0 * sizes.copy, lambda: target.copy_(source))}


def _best(device: torch.device, amount: float, work: Callable[[], object]) -> float:
    """Return the greatest `amount` per second; the first try only warms up."""

    def calls() -> None:
        for _ in range(_CALLS):
            work()

    costs = [timed(device, calls)[1].seconds for _ in range(_TRIES + 1)]
    return _CALLS * amount / min(costs[1:])


@contextmanager
def _products_in(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
