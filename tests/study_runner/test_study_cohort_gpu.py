"""A cohort on CUDA: in one process and in several, what is decided is the same, and what it held is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from simulator.study.executors.base import Executor
from simulator.study.executors.cohort import Cohort
from simulator.study.model import Study
from simulator.study.run import play_study

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device usable by this torch"),
]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_cohort_decides_as_each_alone_and_tells_what_it_held(
    tiny_study: Callable[..., Study], here: Executor, tmp_path: Path, processes: int
) -> None:
    study = tiny_study({"device": "cuda"})
    alone = play_study(study, tmp_path / "alone", here, None)
    together = play_study(study, tmp_path / "together", Cohort(processes=processes), None)
    for one, other in zip(alone, together, strict=True):
        for name, entries in one.entries.items():
            for mine, theirs in zip(entries, other.entries[name], strict=True):
                for part in ("arrival", "decision", "version", "candidate", "parent"):
                    assert getattr(mine.record, part) == getattr(theirs.record, part)
                assert mine.record.training["losses"] == pytest.approx(theirs.record.training["losses"], abs=1e-3)
                assert theirs.beside["device_memory_bytes"] > 0
