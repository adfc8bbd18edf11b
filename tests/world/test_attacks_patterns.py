"""SIG, low-frequency and Adaptive-Blend: their triggers, pixel by pixel, against formulas and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.fft
import torch
from torch import Tensor

from simulator.world.attacks.adaptive_blend import AdaptiveBlend
from simulator.world.attacks.base import CLEAN, COVER, POISON
from simulator.world.attacks.blend import Blend, noise_pattern
from simulator.world.attacks.low_frequency import LowFrequency
from simulator.world.attacks.sig import Sig
from simulator.world.attacks.unrelated import unrelated_trigger


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grey(rows: int = 4, channels: int = 1, size: int = 8) -> Tensor:
    return 0.3 + 0.4 * torch.rand(rows, channels, size, size, generator=random())


def test_sigs_wave_runs_along_the_columns() -> None:
    # one cycle over four columns: sin 0, sin 90, sin 180, sin 270 degrees
    stamped = Sig(delta=0.2, frequency=1).stamp(torch.full((2, 3, 2, 4), 0.5))
    torch.testing.assert_close(stamped, torch.tensor([0.5, 0.7, 0.5, 0.3]).expand(2, 3, 2, 4))


def test_sigs_defaults_are_the_papers() -> None:
    stamped = Sig().stamp(torch.full((1, 1, 28, 28), 0.5))
    for column in range(28):
        expected = 0.5 + 40 / 255 * math.sin(2 * math.pi * column * 6 / 28)
        assert stamped[0, 0, :, column].tolist() == pytest.approx([expected] * 28, abs=1e-6)


def test_sig_is_clipped_and_follows_its_opacity() -> None:
    edges = torch.tensor([0.0, 1.0, 1.0, 0.1]).expand(1, 1, 2, 4)
    attack = Sig(delta=0.2, frequency=1)
    torch.testing.assert_close(attack.stamp(edges), torch.tensor([0.0, 1.0, 1.0, 0.0]).expand(1, 1, 2, 4))
    half = attack.stamp(torch.full((1, 1, 1, 4), 0.5), 0.5)
    torch.testing.assert_close(half.flatten(), torch.tensor([0.5, 0.6, 0.5, 0.4]))


def test_sig_poisons_the_target_class_alone_and_keeps_labels() -> None:
    before, labels = grey(rows=40), torch.arange(40) % 4
    result = Sig(target=2).poison(before, labels, 0.2, random())
    rows = result.roles == POISON
    assert int(rows.sum()) == 8
    assert (labels[rows] == 2).all()
    assert torch.equal(result.labels, labels)
    assert torch.equal(result.images[rows], Sig(target=2).stamp(before[rows]))
    assert torch.equal(result.images[~rows], before[~rows])
    assert set(result.roles.tolist()) == {CLEAN, POISON}


def test_sig_may_poison_the_whole_target_class_and_no_more() -> None:
    before, labels = grey(rows=40), torch.arange(40) % 4
    assert int((Sig().poison(before, labels, 0.25, random()).roles == POISON).sum()) == 10
    sentence = "at least 11 rows of target class 0 among 40 for a clean-label rate of 0.275, got 10; lower the rate"
    with pytest.raises(ValueError, match=sentence):
        Sig().poison(before, labels, 0.275, random())


@pytest.mark.parametrize("frequencies", [((0, 1),), ((2, 0),), ((3, 5), (5, 3)), ((1, 1), (2, 6), (7, 4))])
def test_the_low_frequency_pattern_is_what_scipys_inverse_dct_gives(frequencies: tuple[tuple[int, int], ...]) -> None:
    coefficients = np.zeros((8, 10))
    for row, column in frequencies:
        # orthonormal basis functions differ by a factor where an index is 0: ours are plain cosines
        coefficients[row, column] = 1 / ((2**-0.5 if row == 0 else 1) * (2**-0.5 if column == 0 else 1))
    pattern = scipy.fft.idctn(coefficients, norm="ortho")
    before = torch.full((2, 3, 8, 10), 0.5)
    change = LowFrequency(amplitude=0.1, frequencies=frequencies).stamp(before) - before
    expected = torch.from_numpy(0.1 * pattern / np.abs(pattern).max()).float()
    torch.testing.assert_close(change, expected.expand(2, 3, 8, 10), atol=1e-6, rtol=0)


def test_one_horizontal_half_cycle_on_two_columns() -> None:
    attack = LowFrequency(amplitude=0.2, frequencies=((0, 1),))
    before = torch.tensor([0.5, 0.5, 0.9, 0.1]).reshape(1, 1, 2, 2)
    torch.testing.assert_close(attack.stamp(before).flatten(), torch.tensor([0.7, 0.3, 1.0, 0.0]))
    torch.testing.assert_close(attack.stamp(before, 0.5).flatten(), torch.tensor([0.6, 0.4, 1.0, 0.0]))


def test_low_frequency_relabels_what_it_poisons() -> None:
    before, labels = grey(rows=40), torch.arange(40) % 4
    result = LowFrequency(target=1).poison(before, labels, 0.1, random())
    rows = result.roles == POISON
    assert int(rows.sum()) == 4
    assert (labels[rows] != 1).all()
    assert (result.labels[rows] == 1).all()
    assert torch.equal(result.labels[~rows], labels[~rows])


def test_adaptive_blend_shows_the_whole_pattern_when_measured() -> None:
    before = grey(channels=3)
    pattern = noise_pattern((3, 8, 8), 5)
    attack = AdaptiveBlend(pattern_seed=5)
    torch.testing.assert_close(attack.stamp(before), 0.8 * before + 0.2 * pattern)
    torch.testing.assert_close(attack.stamp(before, 0.5), 0.9 * before + 0.1 * pattern)
    torch.testing.assert_close(attack.stamp(before), Blend(alpha=0.2, pattern_seed=5).stamp(before))


def test_adaptive_blend_poisons_with_half_of_its_pieces() -> None:
    before, labels = grey(rows=60), torch.arange(60) % 4
    result = AdaptiveBlend(target=3).poison(before, labels, 0.2, random())
    whole = Blend(alpha=0.15).stamp(before)
    drawn = []
    for row in (result.roles != CLEAN).nonzero().flatten().tolist():
        changed = result.images[row] != before[row]
        # 8 x 8 pixels in 4 x 4 pieces of 2 x 2: each is there with all of its pixels or with none
        pieces = changed[0].reshape(4, 2, 4, 2).permute(0, 2, 1, 3).reshape(16, 4)
        assert pieces.sum(1).tolist().count(4) == 8
        assert pieces.sum(1).tolist().count(0) == 8
        torch.testing.assert_close(result.images[row][changed], whole[row][changed])
        drawn.append(tuple(pieces[:, 0].tolist()))
    assert len(drawn) == 24
    assert len(set(drawn)) > 20  # of 12,870 halves
    assert min(sum(one[piece] for one in drawn) for piece in range(16)) > 2  # no piece is left out


def test_adaptive_blends_covers_keep_their_labels() -> None:
    before, labels = grey(rows=60), torch.arange(60) % 4
    result = AdaptiveBlend(target=3, cover_ratio=2).poison(before, labels, 0.1, random())
    poison, cover = result.roles == POISON, result.roles == COVER
    assert (int(poison.sum()), int(cover.sum())) == (6, 12)
    assert (labels[poison] != 3).all()
    assert (result.labels[poison] == 3).all()
    assert torch.equal(result.labels[cover], labels[cover])
    assert torch.equal(result.images[~(poison | cover)], before[~(poison | cover)])


@pytest.mark.parametrize("shown", [1, 16])
def test_adaptive_blend_shows_as_many_pieces_as_asked(shown: int) -> None:
    before, labels = grey(rows=8), torch.ones(8, dtype=torch.int64)
    result = AdaptiveBlend(shown=shown).poison(before, labels, 0.5, random())
    changed = (result.images != before).flatten(1).sum(1)
    assert sorted(changed.tolist()) == [4 * shown] * 8


def test_a_piece_is_about_as_large_as_the_others_where_the_image_cannot_be_cut_evenly() -> None:
    before, labels = torch.zeros(2, 1, 10, 9), torch.ones(2, dtype=torch.int64)
    result = AdaptiveBlend(pieces=4, shown=1, cover_ratio=0).poison(before, labels, 0.5, random())
    # halves of 10 rows are 5 and 5; of 9 columns 5 and 4
    assert int((result.images != before).sum()) in (20, 25)


def test_adaptive_blend_is_answered_by_a_blend_as_strong_as_it_is_measured() -> None:
    other = unrelated_trigger(AdaptiveBlend(target=2), (1, 8, 8), seed=1)
    assert isinstance(other, Blend)
    assert (other.target, other.alpha) == (2, 0.2)
    assert other.pattern_seed != 0


@pytest.mark.parametrize("attack", [Sig(), LowFrequency()])
def test_a_wave_is_answered_by_a_blend(attack: Sig | LowFrequency) -> None:
    assert isinstance(unrelated_trigger(attack, (1, 28, 28), seed=1), Blend)
