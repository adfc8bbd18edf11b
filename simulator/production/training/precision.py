"""Numeric precision of a training: float32 everywhere, 16-bit autocast on CUDA."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from simulator.errors import ScenarioError

__all__ = ["Precision", "autocast", "check_precision", "gradient_scaler"]

Precision = Literal["float32", "bfloat16", "float16"]


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise `ScenarioError` for a 16-bit precision outside CUDA."""
    if precision != "float32" and device.type != "cuda":
        raise ScenarioError(
            f"expected recipe.precision to be float32 on {device.type}, got {precision}; "
            "16-bit training needs device: cuda"
        )


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which the forward pass and the loss run."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Return the loss scaling that float16 needs; for the other precisions it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
