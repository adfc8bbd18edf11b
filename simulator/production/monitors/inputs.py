"""What monitors share: the champion's outputs for images, and checks of inputs."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from simulator.errors import ScenarioError
from simulator.production.monitors.base import MonitorView

#: which images a monitor compares with: see `Monitor.reference`
Reference = Literal["fixed", "promotion"]
#: share of undrifted batches that may raise an alarm
Level = Annotated[float, Field(gt=0, le=0.5)]
_BATCH = 250  # rows of one forward pass, which fit the cache of one core; the result does not depend on it


@torch.no_grad()
def forward(model: nn.Module, feature_layer: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (N, classes) and flattened inputs of `feature_layer` (N, D) for `images` (N, C, H, W).

    Both are float32 on the images' device; `model` is in eval mode.
    """
    features: list[Tensor] = []
    layer = model.get_submodule(feature_layer)
    hook = layer.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].flatten(1).float()))
    try:
        logits = [model(part).float() for part in images.split(_BATCH)]
    finally:
        hook.remove()
    return torch.cat(logits), torch.cat(features)


def seed_of(view: MonitorView) -> int:
    """Return a seed for NumPy, the same for the same view."""
    return int(torch.randint(2**62, (), generator=view.generator.clone_state()))


def require_rows(view: MonitorView, reference: Reference) -> None:
    """Raise `ScenarioError` unless both sides have at least two images, without which there is no spread."""
    setting = "stream.validation" if reference == "fixed" else "stream.validation and trusted.images"
    for name, images, where in (
        ("reference", view.reference, setting),
        ("current batch", view.current, "stream.batch"),
    ):
        if len(images) < 2:
            raise ScenarioError(
                f"expected the monitor's {name} to hold at least 2 images, got {len(images)}; raise {where}"
            )


def check_draws(level: float, draws: int, draws_name: str) -> None:
    """Raise `ValueError` for fewer draws than tell `level` apart: the smallest p-value is 1 / (1 + draws)."""
    if int(level * (draws + 1) + 1e-9) < 1:
        needed = int(1 / level + 1e-9) - 1
        raise ValueError(
            f"expected {draws_name} to be at least {needed} at level {level}, got {draws}; raise one of the two"
        )
