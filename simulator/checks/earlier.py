"""Made-up earlier periods for the checks of defenses that look back, and states as they come back from a record."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import torch
from torch import nn

from defenses.base import Defense, History, PastBatch, PastOutcome, PastSignal, PastVersion, Rows
from simulator.checks.material import Case, images_of, labels_of, model_of
from simulator.production.defending.memory import Memory
from simulator.production.lineage import reach

#: the period of the checks' contexts; a version was trained in each one before, and that of period 2 was rejected
PERIOD: Final = 4
_ROWS: Final = 40


def looks_back(defense: Defense) -> bool:
    """Return whether the platform hands the defense a history."""
    return bool(defense.remembers or defense.versions_back or defense.periods_back)


def history_for(case: Case, defense: Defense) -> History:
    """Return what the platform would hand a defense that looks back, as far back as its class says."""
    parents, served = (None, 0, 1, 1), ((0,), (1, 2), (), (3,))
    near, oldest = reach(dict(enumerate(parents)), PERIOD - 1, defense.versions_back), PERIOD - defense.periods_back
    outcome = PastOutcome("inspector", "another", "candidate", "passed", {"score": 0.5, "threshold": 1.0})
    return History(
        versions=tuple(
            PastVersion(
                ordinal, parents[ordinal], ordinal, served[ordinal], 0.9, (outcome,) if ordinal in near else (),
                _loading(case, ordinal) if ordinal in near else None,
            )
            for ordinal in range(PERIOD)
        ),
        batches=tuple(
            PastBatch(period, _rows(case, period) if period >= oldest else None) for period in range(PERIOD)
        ),
        signals=tuple(PastSignal(period, 0.1 * period, 0.5, 0.4, False, None) for period in range(PERIOD + 1)),
        champion=PERIOD - 1,
    )  # fmt: skip


def read_again(memory: Memory) -> Memory:
    """Return a memory as a fresh process reads it from a record."""
    fresh = Memory()
    fresh.restore(json.loads(json.dumps(memory.to_json())))
    return fresh


def _loading(case: Case, ordinal: int) -> Callable[[], nn.Module]:
    """Load the cases' model, moved a little more the older the version is."""

    def loaded() -> nn.Module:
        model, draw = model_of(case), torch.Generator().manual_seed(ordinal)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn(weight.shape, generator=draw), alpha=0.01 * (PERIOD - ordinal))
        return model

    return loaded


def _rows(case: Case, period: int) -> Callable[[], Rows]:
    def loaded() -> Rows:
        fresh = torch.zeros(_ROWS, dtype=torch.bool)
        return Rows(images_of(case, _ROWS, seed=period), labels_of(case, _ROWS), torch.full((_ROWS,), period), fresh)

    return loaded
