"""How a training uses its device: threads and memory, memory layout, numeric precision, and random state.

Layout: images follow the weights. `build_network` lays weights out channels_last, which trains 1.6 times as fast on the
CPU, unless the network's own code (`.view` after a convolution) needs the contiguous layout.

Precision: float32 everywhere; on CUDA a recipe may ask for tf32 products or 16-bit autocast. By default torch rounds
CUDA's convolutions to tf32; here float32 means float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from simulator.errors import ScenarioError
from simulator.records import Numerics
from simulator.system.numerics import began_portable

#: torch's name for what a portable process computes with
_AVX2 = "AVX2"


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
    """Let torch use `count` threads in this process; results depend on it, so a scenario states it."""
    if count < 1:
        raise ScenarioError(f"expected threads to be at least 1, got {count}; correct it")
    torch.set_num_threads(count)


def has_avx2() -> bool:
    """Whether torch computes with AVX2 or more: our kernels round as it does then, and `portable` can be had."""
    return torch.backends.cpu.get_cpu_capability() in (_AVX2, "AVX512")


def expect_numerics(numerics: Numerics, device: str) -> None:
    """Raise `ScenarioError` unless this process computes on `device` as `numerics` says."""
    if numerics == "native":
        return
    if choose_device(device).type != "cpu":
        raise ScenarioError(f"expected device to be cpu with numerics: portable, got '{device}'; set device: cpu")
    if not began_portable():
        raise ScenarioError(
            "expected a process started for numerics: portable, got one that loaded torch without it; "
            "let worker processes play it (--processes 1 or more; play(processes=1))"
        )
    capability = torch.backends.cpu.get_cpu_capability()
    if capability != _AVX2:
        raise ScenarioError(
            "expected an x86-64 processor with AVX2 and FMA and a torch that uses them for numerics: portable, "
            f"got {capability}; use numerics: native here"
        )


def bound_memory(device: str, share: float) -> None:
    """Let torch take at most `share` in (0, 1] of the memory of a CUDA device in this process; no-op on a CPU."""
    chosen = choose_device(device)
    if chosen.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(share, chosen.index)


def peak_memory(device: torch.device) -> int | None:
    """Return the peak bytes that this process's tensors took on a CUDA `device`; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def layout_of(model: nn.Module) -> torch.memory_format:
    """Return `torch.channels_last` when any weight of `model` has that layout, else `torch.contiguous_format`."""
    plain = all(parameter.is_contiguous() for parameter in model.parameters() if parameter.dim() == 4)
    return torch.contiguous_format if plain else torch.channels_last


def laid_out_for(model: nn.Module, images: Tensor) -> Tensor:
    """Return `images` (N, C, H, W) in the layout of `model`; the same tensor when they have it already."""
    return images.contiguous(memory_format=layout_of(model))


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
    """Set how CUDA multiplies float32 inside the block, in convolutions and matrix products; restore it afterwards.

    With tf32 each factor is rounded to 10 bits after the point and sums stay float32; otherwise nothing is rounded.
    Values are stored as float32 either way. A CPU has no such setting.
    """
    if device.type != "cuda":
        yield
        return
    backends: Any = torch.backends
    # RNNs included although there are none: torch refuses its older switch while the two differ.
    settings = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
    finally:
        for setting, chosen in zip(settings, before, strict=True):
            setting.fp32_precision = chosen


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context for the forward pass and the loss."""
    if precision in ("float32", "tf32"):
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Return the loss scaling that float16 needs; disabled for the other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generators of the CPU and of `device` inside the block; restore them after it.

    For code that takes no generator: initialisers and dropout.
    """
    used = torch.device("cpu") if device is None else device
    index = torch.cuda.current_device() if used.type == "cuda" and used.index is None else used.index
    with torch.random.fork_rng(devices=[index] if used.type == "cuda" else []):
        # Not torch.manual_seed: that would also seed the devices that are not restored.
        torch.default_generator.manual_seed(seed)
        if used.type == "cuda":
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
