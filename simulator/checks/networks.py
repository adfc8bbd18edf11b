"""Checks of networks: finite logits of every image shape, from weights that the seed alone decides."""

from __future__ import annotations

import torch
from torch import nn

from simulator.checks.material import CASES, MATRIX, Case, images_of
from simulator.checks.subject import Subject, expect, quiet, same
from simulator.production.training.features import feature_layer
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use


def takes_images_gives_logits(subject: Subject) -> None:
    """Images of 1 and 3 channels from 8 pixels become finite logits (N, classes); the last layer reads features."""
    for case in MATRIX:
        model = quiet(lambda: _network(subject, case))  # noqa: B023
        with torch.no_grad():
            logits = model(images_of(case, 4))
        fits = logits.shape == (4, case.classes) and bool(logits.isfinite().all())
        expect(fits, f"expected finite logits (4, {case.classes}) of {case}, got {tuple(logits.shape)}")
        feature_layer(model)


def same_seed_same_weights(subject: Subject) -> None:
    """The seed decides the weights, and nothing else does."""
    first, second, other = (_network(subject, CASES[0], seed) for seed in (0, 0, 1))
    expect(same(first, second), "expected the same weights from the same seed, got others")
    expect(not same(first, other), "expected other weights from another seed, got the same; draw them from torch")


def _network(subject: Subject, case: Case, seed: int = 0) -> nn.Module:
    use = Use.model_validate({**subject.given, "use": subject.use})
    size = (case.height, case.width)
    return build_network(use, channels=case.channels, size=size, classes=case.classes, seed=seed)
