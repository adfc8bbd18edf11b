"""Numeric precision of a training: float32 everywhere; on CUDA also tf32 products and 16-bit autocast.

torch lets CUDA's convolutions round to tf32 unless told otherwise. Here float32 means float32 wherever it is computed:
a recipe asks for less.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch

from simulator.errors import ScenarioError

__all__ = ["Precision", "arithmetic", "autocast", "check_precision", "gradient_scaler"]

Precision = Literal["float32", "tf32", "bfloat16", "float16"]


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise `ScenarioError` for a precision other than float32 outside CUDA."""
    if precision != "float32" and device.type != "cuda":
        raise ScenarioError(
            f"expected recipe.precision to be float32 on {device.type}, got {precision}; "
            f"{'tf32' if precision == 'tf32' else '16-bit'} training needs device: cuda"
        )


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Let CUDA multiply float32 inside the block as `precision` says, convolutions and matrix products alike.

    With tf32 each factor is rounded to 10 bits after the point, sums stay float32; else nothing is rounded. Values lie
    in memory as float32 either way. What this process had chosen is put back. A CPU has no such choice.
    """
    if device.type != "cuda":
        yield
        return
    backends: Any = torch.backends
    # The RNNs' too, though there are none: torch refuses its older switch while these two differ.
    places = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
    finally:
        for place, chosen in zip(places, before, strict=True):
            place.fp32_precision = chosen


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which the forward pass and the loss run."""
    if precision in ("float32", "tf32"):
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Return the loss scaling that float16 needs; for the other precisions it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
