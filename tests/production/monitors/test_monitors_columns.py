"""Pixel descriptors and model outputs on arrays worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from simulator.production.monitors.columns import COLUMNS, describe, finite


class _Fixed(nn.Module):
    """Answers every image with the same logits."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))
        self.last = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.last(images)
        return self.logits.expand(len(images), -1)


def _described(image: torch.Tensor, logits: list[float]) -> dict[str, float]:
    return {name: float(values[0]) for name, values in describe(_Fixed(logits), "last", image[None]).items()}


def test_pixel_columns_of_a_bright_point():
    image = torch.zeros(1, 3, 3)
    image[0, 1, 1] = 0.9
    row = _described(image, [0.0, 0.0])
    assert math.isclose(row["brightness"], 0.1, rel_tol=1e-6)
    # E[x²] - E[x]² = 0.81 / 9 - 0.01
    assert math.isclose(row["contrast"], math.sqrt(0.08), rel_tol=1e-6)
    # one inner pixel: 4 x 0.9 - (0 + 0 + 0 + 0)
    assert math.isclose(row["sharpness"], 3.6, rel_tol=1e-6)


def test_a_ramp_has_no_sharpness():
    ramp = torch.linspace(0, 1, 5).expand(1, 5, 5)
    assert _described(ramp, [0.0, 0.0])["sharpness"] < 1e-6


def test_colour_is_averaged_over_channels():
    image = torch.stack([torch.full((8, 8), value) for value in (0.0, 0.3, 0.9)])
    assert math.isclose(_described(image, [0.0, 0.0])["brightness"], 0.4, rel_tol=1e-6)


def test_model_columns_of_known_probabilities():
    probabilities = [0.7, 0.2, 0.1]
    row = _described(torch.zeros(1, 8, 8), [math.log(value) for value in probabilities])
    assert math.isclose(row["confidence"], 0.7, rel_tol=1e-6)
    assert math.isclose(row["entropy"], -sum(p * math.log(p) for p in probabilities), rel_tol=1e-6)
    assert row["predicted_label"] == 0


def test_certain_answers_have_no_entropy():
    row = _described(torch.zeros(1, 8, 8), [0.0, 1e4])
    assert (row["confidence"], row["entropy"], row["predicted_label"]) == (1.0, 0.0, 1)


def test_broken_logits_spoil_the_model_columns_alone():
    table = describe(_Fixed([float("nan"), 0.0]), "last", torch.zeros(3, 1, 8, 8))
    assert finite(table) == ("brightness", "contrast", "sharpness")
    assert np.isnan(table["predicted_label"]).all()


def test_the_columns_do_not_depend_on_how_images_are_batched(model, images):
    together = describe(model, "4", images[:1200])
    apart = [describe(model, "4", part) for part in images[:1200].split(300)]
    for name in COLUMNS:
        np.testing.assert_allclose(together[name], np.concatenate([part[name] for part in apart]), atol=1e-5)
