"""Whole runs of attackers that watch the champion: they come back when it has forgotten, resumed or not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from simulator.loop.run import continue_run, open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.records import PeriodRecord
from simulator.scenario.model import Scenario

from .conftest import SMALL, Opened, Played, Stop, dies_after, digests, play_in_memory

ADAPTIVE = {"use": "simulator.world.adaptive:Adaptive", "rate": 0.3, "below": 0.5, "images": 40}
#: updates that forget fast, and test images of every class in every period
FORGETFUL: dict[str, Any] = SMALL | {
    "periods": 4,
    "source": {"use": "digits", "order": "shuffled"},
    "campaign": ADAPTIVE,
    "recipe": {
        "base": {"epochs": 6, "batch": 32, "schedule": {"use": "one-cycle", "peak": 0.1}},
        "update": {"epochs": 6, "batch": 20, "schedule": {"use": "constant", "rate": 0.1}},
    },
    "probes": [{"use": "attack-success"}],
}


def forgetful(**keys: Any) -> Scenario:
    return Scenario.model_validate(FORGETFUL | keys)


@pytest.fixture(scope="module")
def adaptive() -> Played:
    return play_in_memory(forgetful())


def records(played: Played, line: str = "main") -> list[PeriodRecord]:
    return [entry.record for entry in played[line]]


def measured(record: PeriodRecord) -> float | None:
    value: float | None = record.arrival.campaign_state.get("success")
    return value


def test_adaptive_poisons_again_after_the_champion_has_forgotten(adaptive: Played) -> None:
    mine = records(adaptive)
    poisoned = [record.arrival.poisoned > 0 for record in mine]
    assert poisoned[0]
    assert measured(mine[0]) is None
    for record, again in zip(mine[1:], poisoned[1:], strict=True):
        success = measured(record)
        assert success is not None
        assert again == (success < 0.5)
    assert poisoned == [True, False, True, False, True]  # an update forgets, the next one is poisoned


def test_what_the_attacker_measures_is_near_what_the_observer_reads(adaptive: Played) -> None:
    """Of the champion that it met, which the observer read a period before, on other images."""
    mine = records(adaptive)
    for before, record in pairwise(mine):
        read = before.readings["backdoor/attack_success"].value
        assert measured(record) == pytest.approx(read, abs=0.15)


def test_the_twin_is_never_poisoned_and_asks_nothing(adaptive: Played) -> None:
    assert all(r.arrival.poisoned == 0 and r.arrival.campaign_state == {} for r in records(adaptive, "main.twin"))


@pytest.mark.slow
def test_side_by_side_with_its_twin_the_records_are_the_same(adaptive: Played) -> None:
    assert digests(play_in_memory(forgetful(), processes=2)) == digests(adaptive)


def test_stopped_after_every_period_and_killed_within_one_it_goes_on_as_if_it_had_not(adaptive: Played) -> None:
    scenario, registry, ledger = forgetful(), MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "run")
    for period in range(3):
        with pytest.raises(Stop):
            play(head, scenario, registry, ledger, processes=0, wrap=dies_after("ingest", period, "none"))
        play(head, scenario, registry, ledger, processes=0, until=period)
        head, scenario = continue_run(registry, ledger, "run")
    assert digests(play(head, scenario, registry, ledger, processes=0)) == digests(adaptive)


def test_a_rollback_to_a_clean_version_is_inferred_and_answered() -> None:
    campaign = {"use": "simulator.world.adaptive:AfterRepair", "rate": 0.3, "start": 1, "images": 40}
    gate = {"use": "scripted", "roll_back": [2]}
    update = {"epochs": 6, "batch": 20, "schedule": {"use": "constant", "rate": 0.02}}
    recipe = FORGETFUL["recipe"] | {"update": update}
    opened = Opened(**FORGETFUL | {"campaign": campaign, "gate": gate, "recipe": recipe, "twins": []})
    opened.play()
    mine = opened.records()
    assert [record.version for record in mine] == [0, 1, 0, 3, 4]
    assert [record.arrival.poisoned > 0 for record in mine] == [False, True, False, True, False]
    assert [record.arrival.campaign_state.get("inferred", 0) for record in mine] == [0, 0, 0, 1, 1]
