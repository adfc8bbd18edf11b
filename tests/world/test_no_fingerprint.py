"""Drifts change what is in the picture and leave no trace of how they were made: no blur, no counts too regular."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from simulator.scenario.model import Scenario, Use
from simulator.world.drift import LabelPrior, Rotation, Sampling
from simulator.world.stream import Stream
from simulator.world.world import World, load_source


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module", params=["fashion-mnist", "digits"])
def pictures(request: pytest.FixtureRequest) -> Tensor:
    return torch.from_numpy(load_source(Use(use=request.param)).images[:1400].copy()).float() / 255


def laplacian(images: Tensor) -> np.ndarray:
    """The mean absolute Laplacian of each image, by NumPy: blur lowers it."""
    grey = images.mean(1).double().numpy()
    inner = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    found: np.ndarray = np.abs(4 * inner - around).mean((1, 2))
    return found


def apart(one: Tensor, other: Tensor) -> float:
    """How far two sets of pictures are apart in sharpness: the Wasserstein distance in standard deviations."""
    first, second = laplacian(one), laplacian(other)
    return float(wasserstein_distance(first, second) / first.std())


def there_and_back(images: Tensor, degrees: float, sampling: Sampling) -> Tensor:
    first, second = random(2), random(3)
    rotation = Rotation(sampling=sampling)
    return rotation.change(rotation.change(images, degrees, first), -degrees, second)


def test_pictures_turned_there_and_back_are_as_sharp_as_those_that_were_not_turned(pictures: Tensor) -> None:
    plain = apart(there_and_back(pictures, 0.0, "plain"), there_and_back(pictures, 5.0, "plain"))
    jittered = apart(there_and_back(pictures, 0.0, "jittered"), there_and_back(pictures, 5.0, "jittered"))
    assert plain > 1
    assert jittered < 0.15


@pytest.mark.parametrize("degrees", [0.01, 1.0, 5.0, 90.0])
def test_turned_pictures_are_as_sharp_as_those_that_are_not(pictures: Tensor, degrees: float) -> None:
    drift = Rotation()
    assert apart(drift.change(pictures, 0.0, random(2)), drift.change(pictures, degrees, random(3))) < 0.11


def cubic(distance: float) -> float:
    """The kernel of Keys (1981) with a = -0.75."""
    x, a = abs(distance), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def read_at(picture: np.ndarray, row: float, column: float) -> float:
    """`picture` at a place between its pixels, by bicubic interpolation; 0 outside."""
    found = 0.0
    for y in range(math.floor(row) - 1, math.floor(row) + 3):
        for x in range(math.floor(column) - 1, math.floor(column) + 3):
            if 0 <= y < picture.shape[0] and 0 <= x < picture.shape[1]:
                found += float(picture[y, x]) * cubic(row - y) * cubic(column - x)
    return found


@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_each_image_is_turned_about_a_centre_of_its_own(degrees: float) -> None:
    images = torch.rand(2, 1, 7, 9, generator=random())
    found = Rotation().apply(images, degrees, random(5))
    shifts = (torch.rand(2, 2, generator=random(5)) - 0.5).tolist()
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    for image, (down, right), turned in zip(images[:, 0].numpy(), shifts, found[:, 0].numpy(), strict=True):
        expected = [
            [
                read_at(
                    image,
                    sine * (column - 4) + cosine * (row - 3) + 3 + down,
                    cosine * (column - 4) - sine * (row - 3) + 4 + right,
                )
                for column in range(9)
            ]
            for row in range(7)
        ]
        np.testing.assert_allclose(turned, expected, atol=1e-4)


@pytest.mark.parametrize("drift", [[], [{"use": "none"}], [{"use": "brightness"}], [{"use": "noise"}]])
def test_scenarios_without_a_rotation_have_the_sources_own_pixels(drift: list[dict[str, str]]) -> None:
    keys = {"source": {"use": "digits"}, "stream": {"base": 100, "batch": 50, "validation": 20, "relearning": 10}}
    data = load_source(Use(use="digits"))
    scenario = Scenario.model_validate({**keys, "periods": 1, "drift": drift})
    batch = World.build(scenario, data, attacked=False, device="cpu").arrive(0, {})[0]
    assert np.array_equal(batch.images.numpy(), data.images[batch.ids.numpy()].astype(np.float32) / 255)


def test_the_counts_of_classes_vary_as_those_of_undrifted_batches() -> None:
    """The chi-squared statistic of 600 drawn batches of 4 classes has mean 3 (classes - 1); exact counts have 0."""
    data = load_source(Use(use="digits"))
    shares = torch.tensor([0.4, 0.3, 0.2, 0.1, 0, 0, 0, 0, 0, 0], dtype=torch.float64)
    keys = {"source": {"use": "digits"}, "stream": {"base": 100, "batch": 50, "validation": 10, "relearning": 2}}
    found = []
    for seed in range(200):
        scenario = Scenario.model_validate({**keys, "seed": seed, "periods": 3, "trusted": {"images": 0}})
        stream = Stream(data, scenario, lambda period: shares if period else None)
        for period in (1, 2, 3):
            counts = np.bincount(data.labels[stream.batch(period).numpy()], minlength=10)[:4]
            expected = shares[:4].numpy() * 50
            found.append(((counts - expected) ** 2 / expected).sum())
    # standard error: sqrt(2 * 3 / 600) = 0.1
    assert np.mean(found) == pytest.approx(3, abs=0.4)


def test_a_label_prior_counts_exactly_when_asked_to() -> None:
    assert [LabelPrior(counts="exact").exact_counts, LabelPrior().exact_counts] == [True, False]
