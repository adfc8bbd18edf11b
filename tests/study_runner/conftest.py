"""A study that plays in seconds: digits, two arms, two seeds."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, final

import pytest

from simulator.study.executors.base import Executor, Tell, TimelineEnd, silent
from simulator.study.load import study_of
from simulator.study.model import Study
from simulator.study.play import play_here
from simulator.study.timelines import Timeline

MakeStudy = Callable[..., Study]

TINY: dict[str, Any] = {
    "name": "tiny",
    "scenario": {
        "name": "tiny",
        "periods": 2,
        "device": "cpu",
        "source": {"use": "digits"},
        "stream": {"base": 120, "batch": 40, "validation": 40, "relearning": 10, "test": 60},
        "attack": {"use": "patch", "target": 0, "size": 2},
        "campaign": {"use": "one-shot", "rate": 0.1},
        "recipe": {"base": {"epochs": 2, "batch": 32}, "update": {"epochs": 1, "batch": 32}},
        "trusted": {"images": 20},
        "probes": [{"use": "attack-success"}],
        "arms": {"slow": {}, "fast": {"recipe.update.schedule": {"use": "constant", "rate": 0.05}}},
    },
    "seeds": [0, 1],
}


@final
class Here(Executor):
    """Plays in this process, for tests that are not about workers: one takes seconds to start."""

    def play(
        self, todo: Sequence[Timeline], folder: Path, cache: Path | None, tell: Tell = silent
    ) -> Generator[TimelineEnd, None, None]:
        for timeline in todo:
            tell(timeline.name)
            play_here(timeline, folder, cache)
            yield TimelineEnd(timeline.name)


@pytest.fixture(scope="session")
def here() -> Executor:
    """Return an executor without workers."""
    return Here()


@pytest.fixture(scope="session")
def tiny_values() -> dict[str, Any]:
    """Return the study as its file would hold it."""
    return TINY


@pytest.fixture(scope="session")
def tiny_study() -> MakeStudy:
    """Return the study with top-level keys replaced, those of its scenario by `scenario_keys`."""

    def make(scenario_keys: dict[str, Any] | None = None, **keys: Any) -> Study:
        return study_of(TINY | {"scenario": TINY["scenario"] | (scenario_keys or {})} | keys)

    return make
