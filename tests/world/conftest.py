"""Small worlds: a source whose images encode their row number, and scenarios for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.scenario.model import Scenario
from simulator.world.sources.assemble import Part, source_data
from simulator.world.sources.base import SourceData


@pytest.fixture
def make_data() -> Callable[..., SourceData]:
    """Build a source of `rows` train and `test_rows` test rows; row r has the class r % classes and time r."""

    def make(
        rows: int = 400, test_rows: int = 80, classes: int = 4, channels: int = 1, size: int = 8, timed: bool = False
    ) -> SourceData:
        def part(count: int, seed: int, spread: float) -> Part:
            images = np.random.default_rng(seed).integers(0, 200, (count, size, size, channels)).astype(np.uint8)
            images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(count) // 256, np.arange(count) % 256
            time = np.arange(count) * spread if timed else None
            return Part(images, np.arange(count) % classes, time)

        return source_data("small", part(rows, 1, 1.0), part(test_rows, 2, rows / test_rows), classes=classes)

    return make


@pytest.fixture
def make_scenario() -> Callable[..., Scenario]:
    """Build a scenario of 3 periods on the small source; keywords replace whole keys of it."""

    def make(**keys: Any) -> Scenario:
        stream = {"base": 60, "batch": 30, "validation": 20, "relearning": 12, "test": 40, **keys.pop("stream", {})}
        return Scenario.model_validate({"periods": 3, "stream": stream, "trusted": {"images": 10}, **keys})

    return make


@pytest.fixture
def drop(tmp_path: Path) -> Callable[..., Path]:
    """Put a file into `tmp_path/drop` as a writer would: under another name, then renamed. `seed` decides its rows."""

    def put(name: str, rows: int = 100, seed: int = 0, **arrays: Any) -> Path:
        folder = tmp_path / "drop"
        folder.mkdir(exist_ok=True)
        draw = np.random.default_rng(seed)
        made = {"images": draw.integers(0, 256, (rows, 8, 8), np.uint8), "labels": np.arange(rows) % 4, **arrays}
        partial = folder / f"{name}.part"
        with partial.open("wb") as file:
            np.savez_compressed(file, **made)
        return partial.rename(folder / name)

    return put
