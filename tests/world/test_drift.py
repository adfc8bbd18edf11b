"""Drifts: their course over the periods, and each against hand-worked arrays and another implementation."""

from __future__ import annotations

import colorsys
import time
from typing import Any, final

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import adjust_contrast

from simulator.errors import PluginError
from simulator.scenario import catalog
from simulator.world.drift import Brightness, Contrast, Drift, Hue, LabelPrior, NoDrift, Noise, Rotation


def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=random())


@pytest.mark.parametrize(
    ("options", "course"),
    [
        ({}, [0, 4, 8, 12, 16, 20]),
        ({"at": 3}, [0, 0, 0, 4, 8, 12]),
        ({"at": 0}, [4, 8, 12, 16, 20, 24]),
        ({"pattern": "sudden", "at": 2}, [0, 0, 4, 4, 4, 4]),
        ({"pattern": "recurring", "at": 1, "every": 2}, [0, 4, 4, 0, 0, 4]),
        ({"pattern": "recurring"}, [0, 4, 0, 4, 0, 4]),
        ({"pattern": "none"}, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_the_course_of_a_drift(options: dict[str, Any], course: list[float]) -> None:
    drift = Rotation(degrees=4, **options)
    assert [drift.magnitude(period) for period in range(6)] == course


def test_every_member_takes_the_common_options_and_stays_at_zero_in_period_0() -> None:
    for name in catalog.names("drifts"):
        drift: Drift = catalog.build("drifts", name)
        assert drift.magnitude(0) == 0
        assert drift.magnitude(1) != 0 or name == "none"
        if name != "none":
            later = catalog.build("drifts", name, {"pattern": "sudden", "at": 4, "every": 2})
            assert [later.magnitude(3), later.magnitude(4)] == [0, drift.magnitude(1)]


def test_a_quarter_turn_is_counter_clockwise() -> None:
    square = images(3, 2, 9, 9)
    turned = Rotation(sampling="plain").change(square, 90.0, random())
    torch.testing.assert_close(turned, torch.rot90(square, 1, (2, 3)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(28, 28), (20, 31)])
@pytest.mark.parametrize("degrees", [5.0, 37.0, -120.0])
def test_rotation_is_scipys_with_an_endless_black_surrounding(size: tuple[int, int], degrees: float) -> None:
    pixels = images(1, 1, *size)
    mine = Rotation(sampling="plain").change(pixels, degrees, random())[0, 0].numpy()
    theirs = scipy.ndimage.rotate(pixels[0, 0].numpy(), degrees, reshape=False, order=1, mode="grid-constant", cval=0)
    assert np.abs(mine - theirs).max() < 1e-4


def test_rotation_turns_as_pillow_does() -> None:
    pixels = images(1, 1, 28, 28)
    mine = Rotation(sampling="plain").change(pixels, 20.0, random())[0, 0].numpy()
    theirs = np.asarray(Image.fromarray(pixels[0, 0].numpy()).rotate(20, Image.Resampling.BILINEAR))
    assert np.abs(mine - theirs)[7:21, 7:21].max() < 1e-3


def test_rotation_is_quick_on_one_thread() -> None:
    pixels = images(2000, 1, 28, 28)
    drift = Rotation()
    seconds = []
    for _ in range(5):
        start = time.process_time()
        drift.change(pixels, 20.0, random())
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.1


def test_brightness_adds_and_clamps() -> None:
    pixels = torch.tensor([0.0, 0.4, 0.9]).reshape(1, 1, 1, 3)
    assert Brightness().change(pixels, 0.25, random()).flatten().tolist() == pytest.approx([0.25, 0.65, 1.0])
    assert Brightness().change(pixels, -0.5, random()).flatten().tolist() == pytest.approx([0.0, 0.0, 0.4])


def test_contrast_stretches_about_each_images_own_mean() -> None:
    pixels = torch.tensor([[0.2, 0.6], [0.5, 0.5]]).reshape(2, 1, 1, 2)
    assert Contrast().change(pixels, 0.5, random()).flatten().tolist() == pytest.approx([0.1, 0.7, 0.5, 0.5])
    assert Contrast().change(pixels, -0.5, random()).flatten().tolist() == pytest.approx([0.3, 0.5, 0.5, 0.5])
    assert Contrast().change(pixels, -3.0, random()).flatten().tolist() == pytest.approx([0.4, 0.4, 0.5, 0.5])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("magnitude", [-0.7, 0.8])
def test_contrast_is_torchvisions(channels: int, magnitude: float) -> None:
    pixels = images(4, channels, 8, 8)
    mine = Contrast().change(pixels, magnitude, random())
    torch.testing.assert_close(mine, adjust_contrast(pixels, 1 + magnitude), atol=2e-5, rtol=0)


@pytest.mark.parametrize("degrees", [30.0, 120.0, -75.0, 400.0])
def test_hue_is_the_standard_librarys(degrees: float) -> None:
    pixels = images(1, 3, 8, 8)
    pixels[0, :, 0, 0] = 0.3  # a grey
    pixels[0, :, 0, 1] = torch.tensor([0.7, 0.7, 0.2])  # two equal channels
    mine = Hue().change(pixels, degrees, random())
    for row in range(8):
        for column in range(8):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixels[0, :, row, column].tolist())
            expected = colorsys.hsv_to_rgb((hue + degrees / 360) % 1, saturation, value)
            assert mine[0, :, row, column].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_third_of_a_turn_takes_red_to_green() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    assert Hue().change(red, 120.0, random()).flatten().tolist() == pytest.approx([0, 1, 0], abs=1e-6)


def test_noise_has_its_standard_deviation_and_its_seed() -> None:
    grey = torch.full((1200, 1, 8, 8), 0.5)
    noisy = Noise().change(grey, 0.05, random())
    difference = noisy - grey
    assert float(difference.std()) == pytest.approx(0.05, rel=0.02)
    assert abs(float(difference.mean())) < 0.001
    assert torch.equal(noisy, Noise().change(grey, 0.05, random()))
    assert not torch.equal(noisy, Noise().change(grey, 0.05, torch.Generator().manual_seed(1)))
    assert not torch.equal(noisy[:500], noisy[500:1000])
    before = torch.get_rng_state()
    Noise().change(grey, 0.05, random())
    assert torch.equal(torch.get_rng_state(), before)


def test_label_prior_mixes_in_the_favoured_class() -> None:
    shares = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    drift = LabelPrior(share=0.4, favoured=2)
    assert drift.prior(shares, 0.0) is None
    mixed = drift.prior(shares, 0.4)
    assert mixed is not None
    assert mixed.tolist() == pytest.approx([0.3, 0.18, 0.52])
    assert [drift.magnitude(period) for period in range(5)] == pytest.approx([0, 0.4, 0.8, 1, 1])
    assert shares.tolist() == [0.5, 0.3, 0.2]
    pixels = images(5, 1, 8, 8)
    assert torch.equal(drift.change(pixels, 0.4, random()), pixels)


@pytest.mark.parametrize(
    "drift", [Rotation(), Rotation(sampling="plain"), Brightness(), Contrast(), Noise(), Hue(), LabelPrior(), NoDrift()]
)
def test_a_drift_leaves_its_input_alone_and_stays_in_range(drift: Drift) -> None:
    pixels = images(1100, 3, 8, 8)
    before = pixels.clone()
    changed = drift.change(pixels, 0.9, random())
    assert torch.equal(pixels, before)
    assert changed.shape == pixels.shape
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    assert (drift.change(pixels, 0.0, random()) is pixels) is not drift.resamples
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("drift", [Rotation(sampling="plain"), Brightness(), Contrast(), Hue()])
def test_a_drift_changes_each_image_by_itself(drift: Drift) -> None:
    pixels = images(1100, 3, 8, 8)
    whole = drift.change(pixels, 0.3, random())
    rows = [0, 499, 500, 1099]
    torch.testing.assert_close(whole[rows], drift.change(pixels[rows], 0.3, random()))


@pytest.mark.parametrize("drift", [Rotation(), Brightness(), Contrast(), Hue(), Noise(), LabelPrior(), NoDrift()])
def test_images_can_be_changed_where_they_lie(drift: Drift) -> None:
    pixels = images(1100, 3, 8, 8)
    expected = drift.change(pixels, 0.3, random())
    changed = drift.change(pixels, 0.3, random(), into=pixels)
    assert changed is pixels
    assert torch.equal(changed, expected)


@final
class _Crops(Drift):
    """Returns less than it was given."""

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        return images[:, :, 1:]


@final
class _OneForAll(Drift):
    """Returns one image for all: as many would be made of it."""

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        return images[:1].double()


@final
class _Elsewhere(Drift):
    """Returns images on another device."""

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        return images.to("meta")


@pytest.mark.parametrize(
    ("drift", "words"),
    [
        (_Crops(step=1.0), r"_Crops to return images \(4, 1, 8, 8\) of torch.float32 on cpu, got \(4, 1, 7, 8\) of"),
        (_Elsewhere(step=1.0), r"on cpu, got \(4, 1, 8, 8\) of torch.float32 on meta; return as many"),
        (_OneForAll(step=1.0), r"got \(1, 1, 8, 8\) of torch.float64 on cpu; return as many of the same kind"),
    ],
)
@pytest.mark.parametrize("in_place", [False, True])
def test_a_drift_that_returns_other_images_is_refused(drift: Drift, words: str, in_place: bool) -> None:
    given = torch.zeros(4, 1, 8, 8)
    with pytest.raises(PluginError, match=words):
        drift.change(given, 1.0, torch.Generator(), into=given if in_place else None)
