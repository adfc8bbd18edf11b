"""ResNet-18 on random images of 32 x 32: `fit` against a plain step as public recipes write it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.gpu.clock import timed
from benchmarks.gpu.sizes import Sizes
from benchmarks.gpu.training import random_batch
from simulator.batch import Batch
from simulator.production.training.cuda_graphs import no_recorder, recording_with
from simulator.production.training.device import autocast
from simulator.production.training.fit import fit
from simulator.production.training.job import Trained
from simulator.production.training.networks import build_network
from simulator.scenario.model import Phase, Recipe, Use

#: at most so many times the best plain recipe's time
TARGET = 1.3

#: the plain recipe's variants -> how torch.compile is asked for; None: not at all
_VARIANTS = {"eager": None, "compiled": "default", "cuda-graphs": "reduce-overhead"}

#: steps before the clock runs: compiling, choosing kernels, recording graphs
_WARM = 5

Say = Callable[[str], None]


def measure_residual(device: torch.device, sizes: Sizes, say: Say) -> dict[str, Any]:
    """Return images/s of `ours` and of each `plain` variant, and the `ratio` of the best of them to ours.

    bfloat16 on CUDA, float32 elsewhere, where only the eager variant is measured. What is not measured stands with its
    reason in `not_measured`. `ours_unrecorded` is ours on CUDA with every step done by itself; None elsewhere.
    """
    batch = random_batch(device, sizes.rows, channels=3, edge=32)
    network = build_network(Use(use="resnet18"), channels=3, size=(32, 32), classes=10, seed=0).to(device)
    recipe = Recipe(network=Use(use="resnet18"), precision="bfloat16" if device.type == "cuda" else "float32")
    phase = Phase(epochs=sizes.epochs_of_rows, batch=sizes.batch)
    say(f"ResNet-18 in {recipe.precision}, batches of {sizes.batch}: fit")
    few = batch.take(torch.arange(2 * sizes.batch, device=device))
    fit(network, few, phase, recipe, seed=0, update=False)

    def train() -> Trained:
        return fit(network, batch, phase, recipe, seed=0, update=False)

    trained, cost = timed(device, train)
    assert trained.samples is not None
    ours = trained.samples / cost.seconds
    unrecorded = None
    if device.type == "cuda":
        with recording_with(no_recorder):
            unrecorded = trained.samples / timed(device, train)[1].seconds
    plain, reasons = _variants(network, batch, recipe, phase, say)
    return {
        "precision": recipe.precision,
        "batch": sizes.batch,
        "ours": ours,
        "ours_unrecorded": unrecorded,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "plain": plain,
        "not_measured": reasons,
        "ratio": max(plain.values()) / ours,
        "target": TARGET,
    }


def _variants(
    network: nn.Module, batch: Batch, recipe: Recipe, phase: Phase, say: Say
) -> tuple[dict[str, float], dict[str, str]]:
    found: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name, mode in _VARIANTS.items():
        if mode is not None and batch.images.device.type != "cuda":
            reasons[name] = "torch.compile is measured on CUDA only"
            continue
        say(f"ResNet-18: the plain recipe, {name}")
        try:
            found[name] = plain_steps(network, batch, recipe, phase, mode)
        except Exception as error:  # compilers fail in ways of their own; the other variants still count
            if mode is None:
                raise
            reasons[name] = f"torch.compile failed with {type(error).__name__}: {_first_line(error)}"
    return found, reasons


def plain_steps(network: nn.Module, batch: Batch, recipe: Recipe, phase: Phase, mode: str | None) -> float:
    """Return images/s of a bare loop over `batch` in order: channels_last, autocast and fused SGD, nothing else.

    `mode` is torch.compile's; None does not compile. `network` is left alone. The images are brought into the layout
    and cut into batches beforehand: `fit` also shuffles and gathers.
    """
    device = batch.images.device
    model = copy.deepcopy(network).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
    called: Any = model if mode is None else torch.compile(model, mode=mode)
    images = batch.images.contiguous(memory_format=torch.channels_last)
    parts = list(zip(images.split(phase.batch), batch.labels.split(phase.batch), strict=True))

    def steps(count: int) -> None:
        for at in range(count):
            if mode is not None:
                torch.compiler.cudagraph_mark_step_begin()
            shown, labels = parts[at % len(parts)]
            optimizer.zero_grad(set_to_none=True)
            with autocast(recipe.precision, device):
                loss = functional.cross_entropy(called(shown), labels)
            loss.backward()
            optimizer.step()

    count = len(parts) * phase.epochs
    steps(_WARM)
    _, cost = timed(device, lambda: steps(count))
    return count * phase.batch / cost.seconds


def _first_line(error: Exception) -> str:
    return (str(error).strip() or "no reason told").splitlines()[0][:200]
