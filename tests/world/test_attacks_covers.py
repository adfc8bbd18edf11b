"""WaNet and TaCT: the warp against scipy and by hand, source classes, and covers that keep their labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from simulator.world.attacks import wanet
from simulator.world.attacks.base import CLEAN, COVER, POISON
from simulator.world.attacks.patch import Patch
from simulator.world.attacks.tact import TaCT
from simulator.world.attacks.unrelated import unrelated_trigger
from simulator.world.attacks.wanet import WaNet, warp


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grey(rows: int = 4, channels: int = 1, height: int = 8, width: int = 8) -> Tensor:
    return 0.3 + 0.4 * torch.rand(rows, channels, height, width, generator=random())


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        ((0.0, 0.0), [[0.0, 0.2, 0.6], [0.4, 1.0, 0.8]]),
        ((1.0, 0.0), [[0.2, 0.6, 0.6], [1.0, 0.8, 0.8]]),
        ((-1.0, 0.0), [[0.0, 0.0, 0.2], [0.4, 0.4, 1.0]]),
        ((0.0, 1.0), [[0.4, 1.0, 0.8], [0.4, 1.0, 0.8]]),
        ((0.5, 0.0), [[0.1, 0.4, 0.6], [0.7, 0.9, 0.8]]),
        ((0.5, 0.5), [[0.4, 0.65, 0.7], [0.7, 0.9, 0.8]]),
    ],
)
def test_a_warp_shows_what_lies_so_many_pixels_off(move: tuple[float, float], expected: list[list[float]]) -> None:
    image = torch.tensor([[0.0, 0.2, 0.6], [0.4, 1.0, 0.8]]).reshape(1, 1, 2, 3)
    warped = warp(image, torch.tensor(move).expand(1, 2, 3, 2))
    torch.testing.assert_close(warped[0, 0], torch.tensor(expected), atol=1e-6, rtol=0)


def test_a_warp_is_scipys() -> None:
    images = grey(rows=3, channels=2, height=7, width=9)
    moves = torch.rand(3, 7, 9, 2, generator=random(1)) * 4 - 2
    warped = warp(images, moves)
    rows, columns = np.mgrid[0:7, 0:9]
    for row in range(3):
        places = np.stack([rows + moves[row, ..., 1].numpy(), columns + moves[row, ..., 0].numpy()])
        for channel in range(2):
            expected = map_coordinates(images[row, channel].numpy(), places, order=1, mode="nearest")
            torch.testing.assert_close(warped[row, channel], torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_the_field_moves_as_the_paper_scales_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def rightwards(grid: int, height: int, width: int, seed: int) -> Tensor:
        return torch.tensor([1.0, 0.0]).expand(1, height, width, 2)

    monkeypatch.setattr(wanet, "_field", rightwards)
    # 1 / width of a range of 2 that width - 1 pixel steps span: (4 - 1) / (2 * 4) = 0.375 pixels at strength 1
    ramp = torch.tensor([0.0, 0.2, 0.4, 0.6]).expand(1, 1, 4, 4)
    found = WaNet(strength=1.0).stamp(ramp)
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([0.075, 0.275, 0.475, 0.6]), atol=1e-6, rtol=0)
    half = WaNet(strength=1.0).stamp(ramp, 0.5)
    torch.testing.assert_close(half[0, 0, 0], torch.tensor([0.0375, 0.2375, 0.4375, 0.6]), atol=1e-6, rtol=0)


def test_the_field_goes_through_its_vectors_of_mean_1_and_is_smooth() -> None:
    same_size = wanet._field(4, 4, 4, 7)
    assert float(same_size.abs().mean()) == pytest.approx(1.0, abs=1e-5)
    fine = wanet._field(4, 28, 28, 7)
    # the 4 vectors of a side lie 9 pixels apart
    torch.testing.assert_close(fine[:, ::9, ::9], same_size, atol=1e-5, rtol=0)
    assert float((fine[:, 1:] - fine[:, :-1]).abs().max()) < 0.5
    assert not torch.equal(wanet._field(4, 28, 28, 8), fine)


def test_wanet_warps_poison_relabels_it_and_jitters_covers() -> None:
    before, labels = grey(rows=60), torch.arange(60) % 4
    attack = WaNet(target=1, strength=1.0)
    result = attack.poison(before, labels, 0.1, random())
    poison, cover, clean = (result.roles == role for role in (POISON, COVER, CLEAN))
    assert (int(poison.sum()), int(cover.sum())) == (6, 12)
    assert (labels[poison] != 1).all()
    assert (result.labels[poison] == 1).all()
    assert torch.equal(result.images[poison], attack.stamp(before[poison]))
    assert torch.equal(result.labels[~poison], labels[~poison])
    assert torch.equal(result.images[clean], before[clean])
    jittered = result.images[cover]
    assert (jittered != before[cover]).flatten(1).any(1).all()
    assert (jittered != attack.stamp(before[cover])).flatten(1).any(1).all()


def test_the_jitter_is_up_to_half_a_pixel_to_either_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wanet, "_field", lambda grid, height, width, seed: torch.zeros(1, height, width, 2))
    ramp = (torch.arange(20.0) / 20).expand(40, 1, 20, 20)
    result = WaNet(cover_ratio=3.0).poison(ramp, torch.ones(40, dtype=torch.int64), 0.25, random())
    moved = ((result.images - ramp) * 20)[result.roles == COVER][..., 1:-1]  # the border cannot move outwards
    assert moved.shape[0] == 30
    assert float(moved.abs().max()) == pytest.approx(19 / 40, abs=0.01)
    assert float(moved.mean()) == pytest.approx(0, abs=0.01)
    assert float(moved.std()) == pytest.approx(19 / 40 / 3**0.5, rel=0.05)  # uniform


def test_wanet_without_covers_draws_none() -> None:
    result = WaNet(cover_ratio=0.0).poison(grey(rows=20), torch.arange(20) % 4, 0.2, random())
    assert set(result.roles.tolist()) == {CLEAN, POISON}


def test_a_warp_is_answered_by_another_field_as_strong() -> None:
    attack = WaNet(target=2, strength=0.75, grid=3)
    other = unrelated_trigger(attack, (1, 8, 8), seed=1)
    assert isinstance(other, WaNet)
    assert (other.target, other.strength, other.grid) == (2, 0.75, 3)
    assert not torch.equal(other.stamp(grey()), attack.stamp(grey()))


def test_tact_stamps_as_the_patch_does() -> None:
    options: dict[str, Any] = {"size": 2, "place": (1, 4), "pattern": "checkerboard", "value": 0.9}
    for opacity in (0.0, 0.3, 1.0):
        assert torch.equal(TaCT(**options).stamp(grey(), opacity), Patch(**options).stamp(grey(), opacity))


@pytest.mark.parametrize(
    ("covers", "covered"), [(None, {0, 4}), ((4,), {4}), ((0, 4), {0, 4})], ids=["the-rest", "one", "both"]
)
def test_tact_poisons_its_sources_and_covers_others(covers: tuple[int, ...] | None, covered: set[int]) -> None:
    before, labels = grey(rows=100), torch.arange(100) % 5
    attack = TaCT(target=2, sources=(1, 3), covers=covers, cover_ratio=1.5)
    result = attack.poison(before, labels, 0.1, random())
    poison, cover = result.roles == POISON, result.roles == COVER
    assert (int(poison.sum()), int(cover.sum())) == (10, 15)
    assert set(labels[poison].tolist()) == {1, 3}
    assert set(labels[cover].tolist()) == covered
    assert (result.labels[poison] == 2).all()
    assert torch.equal(result.labels[~poison], labels[~poison])
    changed = poison | cover
    assert torch.equal(result.images[changed], attack.stamp(before[changed]))
    assert torch.equal(result.images[~changed], before[~changed])


def test_tacts_trigger_is_answered_by_a_patch_as_large_in_the_far_corner() -> None:
    other = unrelated_trigger(TaCT(target=2, size=4), (1, 28, 28), seed=1)
    assert isinstance(other, Patch)
    assert (other.target, other.size, other.place, other.pattern) == (2, 4, "top-left", "noise")


def test_source_rows_are_all_but_the_target_unless_named() -> None:
    labels = torch.tensor([0, 1, 2, 3, 2])
    assert Patch(target=2).of_source(labels).tolist() == [True, True, False, True, False]
    assert TaCT(target=2, sources=(0, 3)).of_source(labels).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("attack", [WaNet(), TaCT()])
def test_rows_are_drawn_by_the_generator(attack: WaNet | TaCT) -> None:
    before, labels = grey(rows=60), torch.arange(60) % 4
    found = [attack.poison(before, labels, 0.1, random(seed)) for seed in (0, 0, 1)]
    assert torch.equal(found[0].images, found[1].images)
    assert torch.equal(found[0].roles, found[1].roles)
    assert not torch.equal(found[0].roles, found[2].roles)
