"""What defenses will cost is told before training, and a digest does not change by keys that are as they were."""

from __future__ import annotations

from typing import Any

import pytest

from defenses.base import Size
from defenses.fine_pruning import FinePruning
from defenses.neural_cleanse import NeuralCleanse
from defenses.strip import Strip
from simulator.preflight import costs
from simulator.preflight.costs import defense_costs
from simulator.scenario.overrides import scenario_of
from simulator.world.world import load_source

DEFENSE = {"use": "neural-cleanse", "steps": 300, "rule": "own-classes"}
PASSES = 3 * (75 * 4 + 75 * 2 + 150) * 8 * 10  # forward and back, starts in each of 300 steps, images, digits


@pytest.fixture(autouse=True)
def _a_pass_takes_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "_seconds_a_pass", lambda arm, source: 0.001)


def told(**keys: Any) -> list[str]:
    scenario = scenario_of({"source": {"use": "digits"}, "defenses": [DEFENSE], **keys})
    return defense_costs(scenario, load_source(scenario.source))


def test_what_may_reach_the_limit_is_told_with_what_follows() -> None:
    assert told() == [
        f"the defense 'neural-cleanse' takes up to {PASSES:,} passes a call: about 2 minutes on this machine, of 120 "
        "seconds allowed; a call that reaches the limit ends as a timeout, which the gate takes for a failed "
        "inspection (on_timeout: reject); raise defense_seconds, or choose cheaper options"
    ]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"defense_seconds": 1000.0}, "about 2 minutes on this machine"),
        ({"on_timeout": "pass"}, "takes for no inspection (on_timeout: pass)"),
        ({"defense_passes": 100}, "may need 144,000 passes a call, 100 are allowed"),
        ({"defenses": [{"use": "strip"}], "defense_seconds": 9.0}, "and what it looked at stays as it was"),
    ],
)
def test_what_is_told_depends_on_the_limits(keys: dict[str, Any], words: str) -> None:
    (line,) = told(**keys)
    assert words in line


def test_nothing_is_told_of_what_costs_little_or_does_not_say() -> None:
    assert told(defenses=[{**DEFENSE, "steps": 2}, {"use": "none"}]) == []
    assert told(defenses=[{"use": "strip"}]) == [
        "the defense 'strip' takes up to 40,000 passes a call: about 40 seconds on this machine"
    ]


def test_passes_of_the_methods_that_ship() -> None:
    size = Size(classes=5, trusted=50, rows=200)
    own = 3 * (2 * 4 + 2 * 2 + 4) * 3 * 5
    assert NeuralCleanse(steps=8, batch=3, restarts=4, rule="own-classes").passes(size) == own
    assert NeuralCleanse(steps=8, batch=3, restarts=4).passes(size) == 2 * own + 50 * (3 * 20 + 1)
    assert Strip(overlays=7).passes(size) == 7 * 250
    # six to rank and measure, three steps of pruning by rounding; then five trials of two epochs, each looked at thrice
    assert FinePruning(step=0.5, epochs=2).passes(size) == 50 * 7 + 5 * (50 * (6 + 3) + 1) + 1


def test_new_keys_at_their_defaults_leave_the_digest_as_it_was() -> None:
    tree = scenario_of({}).tree
    assert {"defense_passes", "defense_memory", "defense_confined", "on_timeout"} <= tree.keys()
    assert scenario_of({"on_timeout": "reject", "defense_memory": 8192}).digest() == scenario_of({}).digest()
    assert scenario_of({"on_timeout": "pass"}).digest() != scenario_of({}).digest()
