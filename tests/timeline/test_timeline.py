"""The loop over all of its parts: what a period does, who decides, and that nothing depends on who executes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from simulator.batch import Batch
from simulator.errors import PluginError
from simulator.loop.events import STAGES, Event, Stage
from simulator.loop.lineage import as_production_sees, together
from simulator.loop.run import continue_run, lineages_of, open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.production.training.evaluate import accuracy
from simulator.records import LineageKey, Outcome
from simulator.scenario.model import Scenario

from .conftest import SMALL, TINY, MakeScenario, Opened, Played, Stop, dies_after, digests, play_in_memory


@pytest.fixture(scope="module")
def played() -> Played:
    return play_in_memory(Scenario.model_validate(TINY))


def test_a_period_has_a_record_for_the_arm_and_its_twin(played: Played) -> None:
    assert {name: [entry.record.period for entry in entries] for name, entries in played.items()} == {
        "main": [0, 1, 2, 3],
        "main.twin": [0, 1, 2, 3],
    }


def test_the_backdoor_is_planted_in_the_arm_alone(played: Played) -> None:
    success = {name: entries[0].record.readings["backdoor/attack_success"].value for name, entries in played.items()}
    assert success["main"] is not None
    assert success["main.twin"] is not None
    assert success["main"] > 0.6
    assert success["main.twin"] < 0.2
    net = played["main"][0].record.readings["backdoor/net_attack_success"].value
    assert net == pytest.approx(success["main"] - success["main.twin"])


def test_the_twin_gets_the_same_rows_and_replays_the_decisions(played: Played) -> None:
    for mine, other in zip(played["main"], played["main.twin"], strict=True):
        assert mine.record.arrival.rows == other.record.arrival.rows
        assert mine.record.decision.retrain == other.record.decision.retrain
        assert mine.record.judgement.action == other.record.judgement.action
        assert mine.record.judgement.serving == other.record.judgement.serving
        assert other.record.judgement.why.startswith("replayed")
        assert other.record.arrival.poisoned == 0
    assert played["main"][0].record.arrival.poisoned == 60


def test_costly_readings_are_taken_on_the_last_version(played: Played) -> None:
    name = "backdoor/relearned_net_attack_success"
    assert played["main"][-1].record.readings[name].value is not None
    assert "first erased and the last" in str(played["main"][1].record.readings[name].reason)


def test_lineage_is_an_unbroken_chain(played: Played) -> None:
    records = [entry.record for entry in played["main"]]
    assert [(record.version, record.parent) for record in records] == [(0, None), (1, 0), (2, 1), (3, 2)]
    distance = records[2].readings["weights/distance_to_ancestor"].value
    assert distance is not None
    assert distance > 0


def test_the_same_seed_gives_the_same_records_and_another_seed_others(tiny: MakeScenario, played: Played) -> None:
    assert digests(play_in_memory(tiny())) == digests(played)
    assert digests(play_in_memory(tiny(seed=1)))["main"][0] != digests(played)["main"][0]


def test_workers_give_the_same_records_as_this_process(tiny: MakeScenario, played: Played) -> None:
    assert digests(play_in_memory(tiny(), processes=1)) == digests(played)


def test_twins_that_wait_for_nothing_play_beside_their_arm_with_the_same_records() -> None:
    # two that share a worker; one alone: test_compared_probes.py
    scenario = Scenario.model_validate(SMALL | {"periods": 2, "twins": ["paced", "free"]})
    assert digests(play_in_memory(scenario, processes=2)) == digests(play_in_memory(scenario))


def test_wrapped_stages_give_the_same_records_and_every_stage_is_wrapped(tiny: MakeScenario, played: Played) -> None:
    called: list[str] = []

    def wrap(name: str, function: Stage) -> Stage:
        def call(arm: str, control: str, period: int, **arguments: Any) -> dict[str, Any]:
            called.append(name)
            return function(arm, control, period, **arguments)

        return call

    assert digests(play_in_memory(tiny(), wrap=wrap)) == digests(played)
    assert set(STAGES) - set(called) == {"filter", "repair", "inspect"}  # there are no defenses to call


#: plays the scenario of stdin and prints which global generators it drew from or seeded
_ALONE = """
import json, random, sys
import numpy as np, torch
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.loop.run import open_run, play
from simulator.scenario.model import Scenario

def states():
    numpy = np.random.get_state()
    torchs = torch.get_rng_state().tolist()
    return {"random": random.getstate(), "numpy": (numpy[1].tolist(), numpy[2:]), "torch": torchs}

scenario, registry, ledger = Scenario.model_validate(json.load(sys.stdin)), MemoryRegistry(), MemoryLedger()
for seed in (random.seed, np.random.seed, torch.manual_seed):
    seed(5)
before = states()
play(open_run(scenario, registry, ledger, "run"), scenario, registry, ledger, processes=0)
print([name for name, state in states().items() if state != before[name]])
"""


def test_global_random_states_are_left_alone() -> None:
    # An interpreter of its own, for threads that other tests leave behind draw as they please: the keep-alive of
    # Prefect's websockets numbers its pings with Python's global generator.
    text = json.dumps(TINY | {"periods": 1})
    done = subprocess.run([sys.executable, "-c", _ALONE], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_a_run_stopped_after_every_period_goes_on_as_if_it_had_not(tiny: MakeScenario, played: Played) -> None:
    scenario, registry, ledger = tiny(), MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "run")
    for period in range(3):
        play(head, scenario, registry, ledger, processes=0, until=period)
        head, scenario = continue_run(registry, ledger, "run")
    assert digests(play(head, scenario, registry, ledger, processes=0)) == digests(played)


def test_a_run_that_dies_again_and_again_within_a_period_goes_on_as_if_it_had_not(
    tiny: MakeScenario, played: Played
) -> None:
    scenario, registry, ledger = tiny(), MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "run")
    deaths = [("ingest", "paced"), ("train", "none"), ("register", "paced"), ("probe", "none"), ("commit", "paced")]
    for stage, line in deaths:
        with pytest.raises(Stop):
            play(head, scenario, registry, ledger, processes=0, wrap=dies_after(stage, 2, line))
        assert len(ledger.entries(LineageKey(arm="main"))) == 2
        head, scenario = continue_run(registry, ledger, "run")
    assert digests(play(head, scenario, registry, ledger, processes=0)) == digests(played)


def test_listeners_hear_of_every_committed_period(tiny: MakeScenario) -> None:
    events: list[Event] = []
    play_in_memory(tiny(periods=1), listen=events.append)
    assert events[0].kind == "run-started"
    (data,) = events[0].detail.pop("data")
    assert data.startswith("data: 60000 train and 10000 test images of 28 x 28 x 1, 10 classes")
    assert events[0].detail == {"periods": 1, "lines": ["main", "main.twin"]}
    assert (events[-1].kind, events[-1].detail) == ("run-finished", {"periods": 1})
    committed = [(event.control, event.period) for event in events if event.kind == "period-committed"]
    assert committed == [("paced", 0), ("none", 0), ("paced", 1), ("none", 1)]


def test_a_scripted_gate_rejects_and_rolls_back(tiny: MakeScenario) -> None:
    scenario = tiny(gate={"use": "scripted", "reject": [1], "roll_back": [3]}, twins=[])
    records = [entry.record for entry in play_in_memory(scenario)["main"]]
    assert [record.judgement.action for record in records] == ["promoted", "rejected", "promoted", "rolled back"]
    assert [record.version for record in records] == [0, 0, 2, 0]
    assert [record.candidate for record in records] == [0, 1, 2, 3]
    assert set(records[1].candidate_readings) >= {"clean/accuracy", "backdoor/attack_success"}
    assert records[2].candidate_parent == 0


def test_rolling_back_again_and_again_ends_where_no_version_is_left(tiny: MakeScenario) -> None:
    scenario = tiny(gate={"use": "scripted", "roll_back": [6, 7, 8, 9]}, twins=[], periods=9, probes=[])
    records = [entry.record for entry in play_in_memory(scenario)["main"]]
    assert [record.version for record in records[:6]] == [0, 1, 2, 3, 4, 5]
    assert [record.judgement.action for record in records[6:8]] == ["rolled back", "rolled back"]
    assert [record.version for record in records[6:8]] == [4, 3]
    assert all(record.readings["clean/accuracy"].value is not None for record in records)


def test_a_gate_that_looks_at_no_ancestor_has_none_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[float] = []

    def score(model: torch.nn.Module, batch: Batch) -> float:
        scored.append(accuracy(model, batch))
        return scored[-1]

    monkeypatch.setattr("simulator.production.gate_view.accuracy", score)
    records = Opened(periods=3, twins=[]).play()["main"]
    assert len(scored) == 1 + 3 * 2  # of each period the candidate, and from the first update on the champion
    numbers = [entry.record.judgement.numbers for entry in records]
    assert [value for period in numbers for value in period.values()] == scored


def test_a_second_look_that_keeps_all_brings_the_rows_of_the_first_back(
    tiny: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    filters = [{"use": "peculiar_plugins:FirstLookDrops"}]
    scenario = tiny(defenses=filters, in_process=True, twins=[], periods=1)
    training = play_in_memory(scenario)["main"][1].record.training
    assert (training["dropped"], training["rows"]) == (0, 200)


def test_production_is_not_told_what_only_the_world_knows(tiny: MakeScenario) -> None:
    seen = as_production_sees(tiny())
    assert (seen.attack.use, seen.campaign.use, seen.drift, seen.probes) == ("none", "none", (), ())
    assert seen.recipe == tiny().recipe


def test_an_unforeseen_error_in_a_worker_is_told_in_a_sentence(
    tiny: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    scenario = tiny(monitor={"use": "peculiar_plugins:Broken"}, twins=[])
    sentence = r"expected monitor '.*:Broken' to work in period 1 of arm 'main', got ZeroDivisionError.*line \d+\)"
    with pytest.raises(PluginError, match=sentence):
        play_in_memory(scenario, processes=1)


def test_a_monitor_that_changes_the_model_in_place_ends_the_run_before_anything_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    run = Opened(monitor={"use": "peculiar_plugins:Nudging"}, twins=[])
    with pytest.raises(
        PluginError, match=r"Nudging' to leave what it is shown as it is in period 1 of arm 'main'.*model"
    ):
        run.play()
    assert [record.period for record in run.records()] == [0]  # no monitor is asked before the first update


def test_a_probe_that_changes_what_all_are_shown_ends_the_run_before_anything_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    run = Opened(probes=[{"use": "peculiar_plugins:Smudging"}], twins=[])
    with pytest.raises(PluginError, match="Smudging' to leave what it is shown as it is in period 0 of arm 'main'"):
        run.play()
    assert run.records() == []


def test_the_poisoned_ancestor_is_the_first_version_trained_on_poison(tiny: MakeScenario) -> None:
    stream = {"base": 600, "batch": 200, "validation": 100, "relearning": 40, "test": 200, "label_delay": 1}
    campaign = {"use": "scripted", "rates": {2: 0.2}}
    records = [
        entry.record for entry in play_in_memory(tiny(stream=stream, campaign=campaign, twins=[], periods=4))["main"]
    ]
    distances = [record.readings["weights/distance_to_ancestor"].value for record in records]
    assert [value is None for value in distances] == [True, True, True, False, False]
    assert distances[3] == 0


def test_a_screens_outcomes_become_one_with_the_worst_status() -> None:
    parts = [
        Outcome(surface="screen", name="s", status="passed", reason="looked", cost={"samples": 2}, subject="serving"),
        Outcome(surface="screen", name="s", status="failed", reason="raised", cost={"samples": 3}, subject="serving"),
    ]
    (one,) = together(parts)
    assert (one.status, one.reason, one.cost) == ("failed", "raised", {"samples": 5})


def test_a_policy_that_skips_trains_on_what_has_gathered(tiny: MakeScenario) -> None:
    scenario = tiny(policy={"use": "scripted", "periods": [3]}, twins=[])
    records = [entry.record for entry in play_in_memory(scenario)["main"]]
    assert [record.candidate for record in records] == [0, None, None, 1]
    assert [record.judgement.action for record in records] == ["promoted", "kept", "kept", "promoted"]
    assert records[3].training["rows"] == 600


def test_late_labels_delay_the_rows_of_an_update(tiny: MakeScenario) -> None:
    stream = {"base": 600, "batch": 200, "validation": 100, "relearning": 40, "test": 200, "label_delay": 2}
    records = [entry.record for entry in play_in_memory(tiny(stream=stream, twins=[]))["main"]]
    assert [record.decision.retrain for record in records] == [True, False, False, True]
    assert records[1].decision.why == "no labels have arrived"
    assert records[3].training["rows"] == 200


def test_replayed_rows_join_the_window(tiny: MakeScenario) -> None:
    recipe = {"base": {"epochs": 1}, "update": {"epochs": 1}, "replay": {"share": 0.5}}
    records = [entry.record for entry in play_in_memory(tiny(recipe=recipe, twins=[]))["main"]]
    assert [record.training["replayed"] for record in records] == [0, 100, 100, 100]
    assert records[1].training["rows"] == 300


def test_the_oracle_drops_the_poison_and_no_backdoor_is_planted(tiny: MakeScenario) -> None:
    record = play_in_memory(tiny(oracle=True, periods=1))["main"][0].record
    assert record.training["dropped"] == 60
    assert record.training["rows"] == 540
    value = record.readings["backdoor/net_attack_success"].value
    assert value is not None
    assert abs(value) < 0.15


def test_lines_are_the_arms_and_the_twins_of_the_attacked_ones(tiny: MakeScenario) -> None:
    arms = {"attacked": {}, "quiet": {"campaign": {"use": "none"}}}
    assert [key.name for key in lineages_of(tiny(arms=arms))] == ["attacked", "attacked.twin", "quiet"]
    both = tiny(twins=["paced", "free"])
    assert [key.name for key in lineages_of(both)] == ["main", "main.twin", "main.free-twin"]


def test_a_free_twin_decides_for_itself(tiny: MakeScenario) -> None:
    scenario = tiny(twins=["free"], policy={"use": "on-alarm"}, periods=2)
    played = play_in_memory(scenario)
    reason = played["main"][0].record.readings["backdoor/net_attack_success"].reason
    assert reason == "there is no paced twin to subtract"
    assert len(played["main.free-twin"]) == 3
