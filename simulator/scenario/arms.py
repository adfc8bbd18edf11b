"""From a scenario to one of its arms."""

from __future__ import annotations

from simulator.errors import ScenarioError
from simulator.scenario.merge import place
from simulator.scenario.model import Scenario
from simulator.scenario.sentences import near
from simulator.scenario.tree import tree_of, validated

__all__ = ["RUN_KEYS", "arm_scenario"]

#: Keys that belong to the run, not to an arm. Arms are compared with each other, so they share seed, source, device,
#: threads and length; the lines of a run (`arms`, `twins`) and its name cannot differ within it; how defenses are
#: called (`in_process`) is no finding. A drop folder (`stream.arrivals`) is the run's too.
RUN_KEYS = ("arms", "device", "in_process", "name", "periods", "seed", "source", "threads", "twins")


def arm_scenario(scenario: Scenario, arm: str) -> Scenario:
    """Return the scenario of one arm: its overrides laid over the other keys, its `arms` reduced to `{"main": {}}`.

    Reduced so, because then arms that ask for the same have the same digest. Raises `ScenarioError` when there is no
    such arm, when it overrides one of `RUN_KEYS`, or when its overrides do not fit.
    """
    if arm not in scenario.arms:
        hint = near(arm, scenario.arms, f"it has {', '.join(scenario.arms)}")
        raise ScenarioError(f"expected an arm of '{scenario.name}', got '{arm}'; {hint}")
    tree = {**tree_of(scenario), "arms": {"main": {}}}
    try:
        for key, value in scenario.arms[arm].items():
            _require_own(key)
            tree = place(tree, key, value)
        mine = validated(tree)
        if mine.stream.arrivals != scenario.stream.arrivals:
            raise ScenarioError("expected stream.arrivals to be the same in every arm, got another; set it for the run")
    except ScenarioError as error:
        raise ScenarioError("\n".join(f"arm '{arm}': {line}" for line in str(error).splitlines())) from error
    return mine


def _require_own(key: str) -> None:
    first = key.partition(".")[0]
    if first in RUN_KEYS:
        raise ScenarioError(f"expected an override of what arms may differ in, got '{first}'; set it for the whole run")
