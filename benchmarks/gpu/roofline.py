"""The two sides of a roofline: a device's peaks, measured on it, and the operations and bytes of a piece of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

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


@final
@dataclass(frozen=True, slots=True)
class Count:
    """`flops`: of convolutions and products, forward and backward. `bytes`: what all operations read and write."""

    flops: int
    bytes: int


def counted(work: Callable[[], object]) -> Count:
    """Carry `work` out and count it. Bytes are those of operations one by one, as they run without a compiler.

    What stays in a cache between two operations is counted too, so that the true traffic can be less.
    """
    with _Counting() as counting:
        work()
    return Count(counting.flops, counting.bytes)


@final
class _Counting(TorchDispatchMode):
    """Adds up torch's own count of each operation, and the bytes of what it is given and returns; views move none."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.bytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here: torch need not import its compiler to keep it away (two seconds)."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        result = func(*args, **options)
        if not func.is_view:
            self.bytes += sum(_bytes(value) for value in tree_leaves((args, options, result)))
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **options, out_val=result)
        return result


def _bytes(value: object) -> int:
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0
