"""What a GPU's memory held at most is told beside the records, as seconds are; on a CPU nothing is."""

from __future__ import annotations

import pytest

from simulator.loop import lineage
from simulator.observer.rows import row_of
from simulator.scenario.model import Scenario

from .conftest import SMALL, play_in_memory


def test_it_is_told_beside_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario.model_validate(SMALL | {"periods": 1})
    plain = play_in_memory(scenario)
    assert all("device_memory_bytes" not in entry.metadata for entries in plain.values() for entry in entries)
    monkeypatch.setattr(lineage, "peak_memory", lambda device: 2**30)
    told = play_in_memory(scenario)
    for name, entries in told.items():
        assert [entry.metadata["device_memory_bytes"] for entry in entries] == [2**30] * 2
        assert [entry.sha256 for entry in entries] == [entry.sha256 for entry in plain[name]]
        assert [row_of(entry)["device_memory_bytes"] for entry in entries] == [2**30] * 2
