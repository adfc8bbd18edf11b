"""Does the unlearning of a reversed trigger erase a planted patch at its defaults? It takes tens of seconds."""

from __future__ import annotations

from typing import Any

import pytest

from defenses.neural_cleanse_unlearning import NeuralCleanseUnlearning

TARGET = 3


@pytest.mark.slow
def test_unlearning_names_the_target_and_halves_attack_success(poisoned: Any) -> None:
    before = poisoned.attack_success()
    result = NeuralCleanseUnlearning().repair(poisoned.context())
    assert result.evidence["suspect"] == TARGET
    assert poisoned.attack_success(result.model) < before / 2
    assert poisoned.accuracy(result.model) > poisoned.accuracy() - 0.07  # 0.04 chosen, on 150 held-out images
