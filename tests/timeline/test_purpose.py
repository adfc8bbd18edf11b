"""What attacks and campaigns are for: attack success rises in the arm, not in its twin; and where a base comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file

from simulator.cache.store import Cache, cache_in
from simulator.loop.run import open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.records import LineageKey
from simulator.scenario import catalog
from simulator.tensors import weights_digest

from .conftest import MakeScenario, play_in_memory

#: attack -> options; the others run at their defaults. Every attack that ships is in the table by discovery.
BIG = {"trigger": {"use": "patch", "size": 4}}
OPTIONS = {"all-to-all": BIG, "anticipate": BIG, "flat-minimum": BIG, "masked": BIG, "patch": {"size": 4}}
#: attack -> attack success where 1,500 rows are a tenth of its budget; the whole: tests/study/test_attacks_purpose.py
BARS = {"sig": 0.3, "wanet": 0.3}
#: attack -> share of rows that is poisoned: a target for each class is learnt as ten patches are
RATES = {"all-to-all": 0.4}
#: a deferred backdoor sleeps when it is planted
ATTACKS = sorted(set(catalog.names("attacks")) - {"deferred", "none"})


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """Recalls what was trained: the twin's base is the same beside every attack."""
    return cache_in(str(tmp_path_factory.mktemp("memo")))


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_success_rises_where_it_is_planted_and_accuracy_holds(
    tiny: MakeScenario, cache: Cache, attack: str
) -> None:
    use = {"use": attack, **({} if attack == "all-to-all" else {"target": 0}), **OPTIONS.get(attack, {})}
    stream = {"base": 1500, "batch": 200, "validation": 100, "relearning": 40, "test": 400}
    campaign = {"use": "one-shot", "rate": RATES.get(attack, 0.1)}
    # Without drift: a rotation reads all images anew, which blurs pictures of 8 x 8 pixels.
    keys = {"attack": use, "campaign": campaign, "stream": stream, "drift": [], "probes": [{"use": "attack-success"}]}
    scenario = tiny(periods=1, **keys)
    played = play_in_memory(scenario, until=0, cache=cache)
    arm, twin = (played[name][0].record.readings for name in ("main", "main.twin"))
    success, control = arm["backdoor/attack_success"].value, twin["backdoor/attack_success"].value
    assert success is not None
    assert control is not None
    assert success > BARS.get(attack, 0.7)
    assert control < 0.2
    assert abs((arm["clean/accuracy"].value or 0) - (twin["clean/accuracy"].value or 0)) < 0.06


def test_the_compact_network_learns_and_can_be_backdoored(tiny: MakeScenario) -> None:
    stream = {"base": 1500, "batch": 200, "validation": 100, "relearning": 40, "test": 1000}
    recipe = tiny().recipe.model_dump() | {"network": {"use": "compact-cnn"}}
    played = play_in_memory(tiny(recipe=recipe, stream=stream, periods=1, probes=[{"use": "attack-success"}]), until=0)
    arm, twin = (played[name][0].record.readings for name in ("main", "main.twin"))
    assert (arm["backdoor/attack_success"].value or 0) > 0.8
    assert (twin["backdoor/attack_success"].value or 0) < 0.2
    assert (arm["clean/accuracy"].value or 0) > 0.78
    assert (twin["clean/accuracy"].value or 0) > 0.78


@pytest.mark.parametrize(
    ("campaign", "poisoned"),
    [
        ({"use": "one-shot", "period": 2, "rate": 0.1}, [0, 0, 20]),
        ({"use": "persistent", "rate": 0.1}, [60, 20, 20]),
        ({"use": "scripted", "rates": {1: 0.2}}, [0, 40, 0]),
    ],
)
def test_a_campaign_poisons_when_it_says(tiny: MakeScenario, campaign: dict[str, object], poisoned: list[int]) -> None:
    entries = play_in_memory(tiny(campaign=campaign, periods=2, twins=[], probes=[]))["main"]
    assert [entry.record.arrival.poisoned for entry in entries] == poisoned


def test_a_checkpoint_of_ones_own_is_the_base(tiny: MakeScenario, tmp_path: Path) -> None:
    registry, ledger = MemoryRegistry(), MemoryLedger()
    first = tiny(periods=1, twins=[], probes=[])
    play(open_run(first, registry, ledger, "first"), first, registry, ledger, processes=0)
    weights = registry.weights(LineageKey(arm="main"), 0)
    save_file(weights, tmp_path / "base.safetensors")
    second = tiny(periods=1, twins=[], probes=[], base={"from": str(tmp_path / "base.safetensors")})
    records = [entry.record for entry in play_in_memory(second)["main"]]
    assert records[0].weights == weights_digest(weights)
    assert records[0].training["samples"] == 0
    assert records[1].weights != records[0].weights
