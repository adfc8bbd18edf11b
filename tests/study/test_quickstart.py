"""What the quickstart claims on seeds 1, 2 and 3, with every value printed. Run by `make purpose`; minutes."""

from __future__ import annotations

import pytest

from simulator.loop.run import open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.records import PeriodRecord
from simulator.scenario.load import load_scenario

pytestmark = [pytest.mark.study, pytest.mark.timeout(1800)]

NET = "backdoor/net_attack_success"
RELEARNED = "backdoor/relearned_net_attack_success"
UNRELATED = "backdoor/relearned_unrelated_net_attack_success"
ACCURACY = "clean/accuracy"


def value(record: PeriodRecord, name: str) -> float:
    reading = record.readings[name]
    assert reading.value is not None, reading.reason
    return reading.value


def played(seed: int) -> dict[str, list[PeriodRecord]]:
    """Play the quickstart with stores in memory; the records are those of any other executor."""
    scenario, registry, ledger = load_scenario("quickstart", [f"seed={seed}"]), MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, f"quickstart-{seed}")
    entries = play(head, scenario, registry, ledger)
    return {name: [entry.record for entry in line] for name, line in entries.items()}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_high_rates_erase_what_a_small_one_keeps_whatever_their_shape_and_forgotten_is_not_gone(
    seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = played(seed)
    constant, mean, smart = lines["constant"], lines["constant-mean"], lines["slanted-triangular"]
    with capsys.disabled():
        print(f"\nquickstart, seed {seed}")
        for arm in (constant, mean, smart):
            print(f"  {arm[0].arm:20} net ASR", *(f"{value(record, NET):6.3f}" for record in arm))
            print(f"  {'':20} clean  ", *(f"{value(record, ACCURACY):6.3f}" for record in arm))
        print(f"  re-learned net ASR {value(smart[-1], RELEARNED):.3f}, unrelated {value(smart[-1], UNRELATED):.3f}")

    assert value(constant[0], NET) >= 0.9
    assert value(mean[0], NET) >= 0.9
    assert value(smart[0], NET) >= 0.9
    # set when seeds 0, 1, 2, 10, 11 and 12 were known; seed 3 was not
    assert value(constant[1], NET) - value(smart[1], NET) >= 0.1  # 0.27 to 0.76 there
    assert value(constant[1], NET) > value(mean[1], NET)  # by 0.11 to 0.40: at an equal mean rate, the rate's part
    assert value(constant[-1], NET) >= 0.5
    assert value(mean[-1], NET) < 0.2
    assert value(smart[-1], NET) < 0.2
    assert value(constant[-1], ACCURACY) - value(smart[-1], ACCURACY) <= 0.01
    assert value(smart[-1], RELEARNED) - value(smart[-1], UNRELATED) >= 0.1  # 0.26 to 0.50
