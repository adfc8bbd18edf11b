"""Do the repairs erase a planted patch at their defaults? Each takes seconds to tens of seconds."""

from __future__ import annotations

from typing import Any

import pytest

from defenses.base import Repair
from defenses.fine_pruning import FinePruning
from defenses.neural_cleanse_unlearning import NeuralCleanseUnlearning

TARGET = 3


@pytest.mark.slow
@pytest.mark.parametrize("repair", [FinePruning(), NeuralCleanseUnlearning()], ids=["fine-pruning", "unlearning"])
def test_a_repair_halves_attack_success_for_few_points(poisoned: Any, repair: Repair) -> None:
    before = poisoned.attack_success()
    repaired = repair.repair(poisoned.context()).model
    assert poisoned.attack_success(repaired) < before / 2
    assert poisoned.accuracy(repaired) > poisoned.accuracy() - 0.07  # 0.04 chosen, on 150 held-out images
