"""How many images go through the network in a period, and in how many passes: bounds worked out from the sizes.

The sizes are those of `conftest.COUNTED`: a batch of 90 in steps of 32, 110 test images, 50 for validation, 40 trusted.
"""

from __future__ import annotations

import pytest

from .conftest import Counted

UPDATES = [1, 2, 3, 4]


def _images(counted: Counted, period: int, stage: str) -> tuple[int, int]:
    sizes = [images for at, _, images in counted[period].passes if at == stage]
    return len(sizes), sum(sizes)


@pytest.mark.parametrize("period", UPDATES)
def test_training_sees_each_row_once_an_epoch(counted: Counted, period: int) -> None:
    assert _images(counted, period, "train") == (2 * 3, 2 * 90)  # 90 rows are 3 steps of at most 32
    assert all(training == (at == "train") for at, training, _ in counted[period].passes)


@pytest.mark.parametrize("period", UPDATES)
def test_the_monitor_describes_each_side_at_most_once(counted: Counted, period: int) -> None:
    passes, images = _images(counted, period, "monitor")
    assert 0 < images <= 50 + 90
    assert passes <= 2


@pytest.mark.parametrize("period", UPDATES)
def test_the_gate_scores_candidate_champion_and_the_ancestors_kept_at_most_once(counted: Counted, period: int) -> None:
    # Version 0 has no ancestors; later at most three are kept, and the accuracy gate looks back to all of them.
    models = 2 + min(period - 1, 3)
    passes, images = _images(counted, period, "gate")
    assert 2 * 40 <= images <= models * 40
    assert passes <= models


@pytest.mark.parametrize("period", UPDATES)
def test_all_probes_share_one_clean_and_one_stamped_look(counted: Counted, period: int) -> None:
    # Beside the clean and the stamped test images the dose probe looks at 63 of them, 7 a source class, at 3 halvings.
    passes, images = _images(counted, period, "probe")
    assert 110 < images <= 2 * 110 + 3 * 63
    assert passes <= 2 + 3


@pytest.mark.parametrize("period", UPDATES)
def test_nothing_else_asks_the_network(counted: Counted, period: int) -> None:
    assert {stage for stage, _, _ in counted[period].passes} == {"train", "monitor", "gate", "probe"}


@pytest.mark.parametrize("period", UPDATES)
def test_a_network_is_copied_once_an_update_to_be_trained(counted: Counted, period: int) -> None:
    assert counted[period].copies == ["train"]


@pytest.mark.parametrize("period", UPDATES)
def test_every_image_drifts_once(counted: Counted, period: int) -> None:
    # batch, trusted and test images of the period; they bear the trigger after the drift
    assert sum(images for _, images in counted[period].drifted) == 90 + 40 + 110
