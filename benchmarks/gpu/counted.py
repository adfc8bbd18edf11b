"""Operations and bytes of one training step of one network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


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
