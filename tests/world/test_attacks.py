"""Attacks: what their triggers change, pixel by pixel, and which rows they poison."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from simulator.scenario import catalog
from simulator.world.attacks.base import CLEAN, POISON, Attack, Poisoned
from simulator.world.attacks.blend import Blend
from simulator.world.attacks.label_consistent import LabelConsistent
from simulator.world.attacks.none import NoAttack
from simulator.world.attacks.patch import Patch
from simulator.world.attacks.unrelated import unrelated_trigger


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grey(rows: int = 4, channels: int = 1, size: int = 10) -> Tensor:
    return 0.2 + 0.6 * torch.rand(rows, channels, size, size, generator=random())


@pytest.mark.parametrize(
    ("place", "margin", "rows", "columns"),
    [
        ("bottom-right", 0, (7, 10), (7, 10)),
        ("bottom-right", 1, (6, 9), (6, 9)),
        ("bottom-left", 1, (6, 9), (1, 4)),
        ("top-right", 2, (2, 5), (5, 8)),
        ("top-left", 0, (0, 3), (0, 3)),
        ((0, 5), 1, (0, 3), (5, 8)),
    ],
)
def test_a_patch_lies_where_it_is_put(place: Any, margin: int, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    before = grey()
    expected = before.clone()
    expected[:, :, slice(*rows), slice(*columns)] = 1
    assert torch.equal(Patch(place=place, margin=margin).stamp(before), expected)


@pytest.mark.parametrize("pattern", ["white", "checkerboard", "noise"])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_patch_changes_exactly_its_pixels(pattern: Any, size: int, channels: int) -> None:
    before = grey(channels=channels)
    changed = Patch(size=size, pattern=pattern).stamp(before) != before
    assert changed.sum(dim=(1, 2, 3)).tolist() == [size * size * channels] * len(before)


def test_the_patterns_of_a_patch() -> None:
    black = torch.zeros(1, 1, 8, 8)

    def square(**options: Any) -> Tensor:
        return Patch(place=(0, 0), **options).stamp(black)[0, 0, :3, :3]

    assert square(value=0.5).tolist() == [[0.5] * 3] * 3
    assert square(pattern="checkerboard").tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    seeds = [square(pattern="noise", pattern_seed=seed) for seed in range(4)]
    assert [float(one.sum()) for one in seeds] == [5, 5, 5, 5]
    assert len({tuple(one.flatten().tolist()) for one in seeds}) > 1
    assert torch.equal(seeds[2], square(pattern="noise", pattern_seed=2))


@pytest.mark.parametrize("opacity", [0.0, 0.25, 1.0])
def test_a_patchs_opacity_mixes(opacity: float) -> None:
    before = grey()
    after = Patch(value=0.9).stamp(before, opacity)
    expected = before.clone()
    expected[..., 7:, 7:] = before[..., 7:, 7:] * (1 - opacity) + 0.9 * opacity
    torch.testing.assert_close(after, expected)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("opacity", [0.0, 0.5, 1.0])
def test_a_blend_mixes_in_one_pattern(alpha: float, opacity: float) -> None:
    attack = Blend(alpha=alpha)
    pattern = Blend(alpha=1.0).stamp(torch.zeros(1, 3, 10, 10))
    before = grey(channels=3)
    after = attack.stamp(before, opacity)
    torch.testing.assert_close(after, before + alpha * opacity * (pattern - before))
    assert float((after - before).abs().max()) <= attack.largest_change * opacity + 1e-6
    assert float(pattern.std()) == pytest.approx(12**-0.5, rel=0.1)  # uniform in [0, 1]


def test_blend_patterns_differ_by_seed_alone() -> None:
    black = torch.zeros(1, 1, 10, 10)
    assert torch.equal(Blend(pattern_seed=3).stamp(black), Blend(pattern_seed=3, target=2).stamp(black))
    assert not torch.equal(Blend(pattern_seed=3).stamp(black), Blend(pattern_seed=4).stamp(black))


def poisoned(attack: Attack, rate: float, seed: int = 0) -> tuple[Tensor, Tensor, Poisoned]:
    before, labels = grey(rows=50), torch.arange(50) % 5
    kept = before.clone(), labels.clone()
    result = attack.poison(before, labels, rate, random(seed))
    assert torch.equal(before, kept[0])
    assert torch.equal(labels, kept[1])
    return before, labels, result


@pytest.mark.parametrize("attack", [Patch(target=2), Blend(target=2)])
@pytest.mark.parametrize(("rate", "count"), [(0.0, 0), (0.02, 1), (0.05, 2), (0.1, 5), (0.8, 40)])
def test_poison_replaces_its_share_of_all_rows_in_place(attack: Attack, rate: float, count: int) -> None:
    before, labels, result = poisoned(attack, rate)
    rows = result.roles == POISON
    assert int(rows.sum()) == count  # 2.5 rounds to 2, the even neighbour
    assert (labels[rows] != 2).all()
    assert (result.labels[rows] == 2).all()
    assert torch.equal(result.labels[~rows], labels[~rows])
    assert torch.equal(result.images[rows], attack.stamp(before[rows]))
    assert torch.equal(result.images[~rows], before[~rows])
    assert set(result.roles.tolist()) <= {CLEAN, POISON}
    assert result.roles.dtype == torch.int8


def test_rows_are_drawn_by_the_generator() -> None:
    roles = [poisoned(Patch(), 0.2, seed)[2].roles.tolist() for seed in (0, 0, 1)]
    assert roles[0] == roles[1] != roles[2]


def test_no_attack_does_nothing_at_any_rate() -> None:
    before, labels, result = poisoned(NoAttack(), 1.0)
    assert torch.equal(result.images, before)
    assert torch.equal(result.labels, labels)
    assert not result.roles.any()
    assert torch.equal(NoAttack().stamp(before), before)


@pytest.mark.parametrize("name", ["none", "patch", "blend"])
def test_stamping_leaves_its_input_alone_and_opacity_0_changes_nothing(name: str) -> None:
    attack: Attack = catalog.build("attacks", name, {} if name == "none" else {"target": 1})
    before = grey(channels=3)
    kept = before.clone()
    assert torch.equal(attack.stamp(before, 0.0), kept)
    attack.stamp(before)
    assert torch.equal(before, kept)
    assert attack.stamp(before) is not before


def test_the_place_of_a_patch_may_be_a_list_as_yaml_has_it() -> None:
    patch: Patch = catalog.build("attacks", "patch", {"place": [2, 4]})
    assert patch.place == (2, 4)
    assert catalog.build("attacks", "patch", {"place": "top-left"}).place == "top-left"


@pytest.mark.parametrize(
    ("place", "corner"),
    [
        ("bottom-right", (slice(0, 3), slice(0, 3))),
        ("top-left", (slice(7, 10), slice(7, 10))),
        ((7, 0), (slice(0, 3), slice(7, 10))),
    ],
)
def test_a_patchs_unrelated_trigger_has_its_size_in_the_far_corner(place: Any, corner: tuple[slice, slice]) -> None:
    other = unrelated_trigger(Patch(target=3, place=place), (1, 10, 10), seed=5)
    before = grey()
    changed = other.stamp(before) != before
    assert other.target == 3
    assert changed[:, :, corner[0], corner[1]].all()
    assert changed.sum(dim=(1, 2, 3)).tolist() == [9] * len(before)
    square = other.stamp(before)[0, 0][corner]
    assert square.sum() == 5


def test_a_trigger_in_all_corners_is_answered_in_the_middle() -> None:
    other = unrelated_trigger(LabelConsistent(target=3, size=2), (1, 12, 12), seed=5)
    assert isinstance(other, Patch)
    assert (other.target, other.size, other.place) == (3, 4, (4, 4))  # 4 x 2 x 2 pixels, as a square


def test_a_blends_unrelated_trigger_has_its_alpha_and_another_pattern() -> None:
    attack = Blend(target=3, alpha=0.3)
    other = unrelated_trigger(attack, (3, 10, 10), seed=5)
    assert isinstance(other, Blend)
    assert (other.target, other.alpha) == (3, 0.3)
    before = grey(channels=3)
    mine, theirs = attack.stamp(before) - before, other.stamp(before) - before
    # independent patterns: the parts that do not come from the image itself do not go together
    own = torch.stack([(mine + 0.3 * before)[0].flatten(), (theirs + 0.3 * before)[0].flatten()])
    assert abs(float(torch.corrcoef(own)[0, 1])) < 0.2


class Stripe(Attack):
    """A stranger's attack: a grey stripe of `width` columns at the left edge."""

    def __init__(self, *, target: int = 1, width: int = 1) -> None:
        self.target = target
        self.width = width

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        return NoAttack().poison(images, labels, rate, generator)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        stamped = images.clone()
        stamped[..., : self.width] += (0.5 - stamped[..., : self.width]) * opacity
        return stamped


def test_a_strangers_trigger_is_answered_by_one_of_its_size() -> None:
    narrow = unrelated_trigger(Stripe(width=1), (1, 16, 16), seed=5)
    assert isinstance(narrow, Patch)
    assert (narrow.size, narrow.target) == (4, 1)  # 16 pixels, as a square
    assert str(narrow.place).endswith("right")
    wide = unrelated_trigger(Stripe(width=16), (1, 16, 16), seed=5)
    assert isinstance(wide, Blend)
    # uniform noise lies 1/4 from 0.5 on average, and a blend's pattern 1/3 from uniform noise
    assert wide.alpha == pytest.approx(0.75, abs=0.02)


def test_no_attack_has_no_unrelated_trigger() -> None:
    attack = NoAttack()
    assert unrelated_trigger(attack, (1, 10, 10), seed=5) is attack
