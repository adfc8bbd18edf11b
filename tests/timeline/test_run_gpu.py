"""A whole run on CUDA: played in parts, defended, and read like one on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flows.runs.folder import RunFolder
from flows.runs.play import open_place, play_place
from simulator.loop.events import ignore, plain
from simulator.production.registry.base import Entry
from simulator.scenario.model import Scenario

from .conftest import TINY

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device usable by this torch"),
]

SCENARIO = TINY | {
    "periods": 2,
    "device": "cuda",
    "gate": {"use": "none"},
    "arms": {"plain": {}, "pruned": {"defenses": [{"use": "fine-pruning"}]}},
}


@pytest.fixture(scope="module", params=[0, 1], ids=["in this process", "in a worker"])
def entries(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Entry]]:
    """The run's periods: base training and one update, then gone on with from the ledger alone."""
    folder = tmp_path_factory.mktemp("gpu")
    place = RunFolder("gpu", Path(folder) / "gpu", Path(folder))
    scenario = Scenario.model_validate(SCENARIO)
    for given, until in ((scenario, 1), (None, None)):
        with open_place(place, given) as stores:
            played = play_place(place, stores, wrap=plain, listen=ignore, until=until, processes=request.param)
    return played.entries


def value(entry: Entry, name: str) -> float:
    found = entry.record.readings[name].value
    assert found is not None, entry.record.readings[name].reason
    return found


def test_every_line_is_played_to_its_end_across_a_resume(entries: dict[str, list[Entry]]) -> None:
    assert {name: [entry.record.period for entry in line] for name, line in entries.items()} == {
        name: [0, 1, 2] for name in ("plain", "plain.twin", "pruned", "pruned.twin")
    }
    assert [entry.record.parent for entry in entries["plain"]] == [None, 0, 1]


def test_the_backdoor_is_planted_in_the_arm_alone(entries: dict[str, list[Entry]]) -> None:
    assert value(entries["plain"][0], "backdoor/attack_success") > 0.6
    assert value(entries["plain.twin"][0], "backdoor/attack_success") < 0.2
    assert all(value(entry, "clean/accuracy") > 0.5 for entry in entries["plain"])


def test_costly_readings_are_taken_of_the_last_version(entries: dict[str, list[Entry]]) -> None:
    assert -1.0 <= value(entries["plain"][-1], "backdoor/relearned_net_attack_success") <= 1.0


def test_the_defense_acted_on_every_candidate(entries: dict[str, list[Entry]]) -> None:
    outcomes = [outcome for entry in entries["pruned"] for outcome in entry.record.outcomes]
    assert {outcome.name for outcome in outcomes} == {"fine-pruning"}
    assert {outcome.status for outcome in outcomes} <= {"changed", "passed"}
    assert [entry.record.outcomes for entry in entries["plain"]] == [[], [], []]
