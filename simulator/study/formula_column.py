"""What the linear formula says of a timeline before it is played: columns to rank settings by, not predictions.

The figures are those of `simulator.theory.formula` for one update of the scenario: the rates of its schedule as far as
its momentum carries them, its weight decay, and the clean energy along the trigger in the distribution of period 1, in
pixels as the network sees them. The formula ignores replay, frozen layers, campaigns after the first, label delays,
policies and gates; `simulator.theory.formula` says where it does not hold at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from simulator.errors import EbbdoorError
from simulator.production.training.blocks import Centred
from simulator.production.training.fit import learning_rates
from simulator.production.training.networks import build_network
from simulator.production.training.normalised import Normalised
from simulator.production.training.optimizers import Sgd
from simulator.scenario import catalog
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import arm_scenario
from simulator.study.claims.values import Value
from simulator.study.timelines import Timeline
from simulator.theory.formula import (
    clean_energy,
    effective_rates,
    predicted_share,
    predicted_updates,
    trigger_difference,
)
from simulator.world.world import World, load_source

#: name -> what it is
COLUMNS = {
    "update_steps": "optimizer steps of one update",
    "rate_sum": "sum of the learning rates of one update's steps (rate x steps)",
    "inverse_rate_sum": "1 / rate_sum: the order in which rate x steps alone lets settings live",
    "effective_rate_sum": "the sum of rates, each as far as momentum carries it",
    "trigger_energy": "clean energy along the trigger in period 1, in pixels as the network sees them",
    "predicted_share": "share of the trigger weight that one update leaves, by the linear formula",
    "predicted_updates": "updates until half of the trigger weight is left, by the linear formula",
}
#: share of the planted strength that ends the prediction
_THRESHOLD = 0.5


def formula_beside(timeline: Timeline) -> dict[str, Any]:
    """Return a number or None for each of `COLUMNS`, and under `reasons` one text for each None.

    It is kept beside a timeline's records, not in them.
    """
    found = _column(timeline)
    reasons = {name: one.reason for name, one in found.items() if one.number is None}
    return {name: one.number for name, one in found.items()} | {"reasons": reasons}


def _column(timeline: Timeline) -> dict[str, Value]:
    scenario = arm_scenario(timeline.scenario, timeline.arm)
    rates, energy = learning_rates(scenario.stream.batch, scenario.recipe.update), _energy(scenario)
    total = math.fsum(rates)
    known = {
        "update_steps": Value(float(len(rates))),
        "rate_sum": Value(total),
        "inverse_rate_sum": Value(1 / total) if total > 0 else Value.undefined("every rate is 0"),
        "trigger_energy": energy,
        **_predicted(scenario, rates, energy),
    }
    return {name: known[name] for name in COLUMNS}


def _predicted(scenario: Scenario, rates: Sequence[float], energy: Value) -> dict[str, Value]:
    momentum, decay, why = _descent(scenario)
    if why:
        return dict.fromkeys(("effective_rate_sum", "predicted_share", "predicted_updates"), Value.undefined(why))
    carried = effective_rates(rates, momentum)
    known = {"effective_rate_sum": Value(math.fsum(carried))}
    if energy.number is None:
        return known | dict.fromkeys(("predicted_share", "predicted_updates"), energy)
    updates = predicted_updates(carried, energy.number, decay, _THRESHOLD)
    never = "by the formula the trigger weight stays for ever, or grows"
    return known | {
        "predicted_share": Value(predicted_share(carried, energy.number, decay)),
        "predicted_updates": Value(updates) if math.isfinite(updates) else Value.undefined(never),
    }


def _descent(scenario: Scenario) -> tuple[float, float, str]:
    """Return momentum and weight decay of an update, and an empty text or why the formula does not apply."""
    use = scenario.recipe.update.optimizer
    if scenario.recipe.start == "scratch":
        return 0.0, 0.0, "every update starts from scratch: nothing planted is carried over"
    optimizer = catalog.build("optimizers", use.use, use.options)
    if not isinstance(optimizer, Sgd):
        return 0.0, 0.0, f"'{use.use}' is no plain gradient descent: the formula says nothing of its steps"
    return optimizer.momentum, optimizer.weight_decay, ""


def _energy(scenario: Scenario) -> Value:
    try:
        world = World.build(scenario, load_source(scenario.source), attacked=True, device="cpu")
        if not world.has_attack:
            return Value.undefined("there is no attack")
        images, stamped = world.test(1).images, world.stamped(1)
        scale = _scale(scenario, world)
        return Value(clean_energy(scale * images, trigger_difference(images, stamped)))
    except (EbbdoorError, ValueError) as error:  # no period 1 on the test side, a surrogate, or no direction
        return Value.undefined(str(error))


def _scale(scenario: Scenario, world: World) -> float:
    """How far apart the network sees two pixels that differ by one: ours map [0, 1] to [-1, 1] first."""
    channels, height, width = world.shape
    facts: Mapping[str, Any] = {"channels": channels, "size": (height, width), "classes": world.classes}
    network = build_network(scenario.recipe.network, **facts, seed=0)
    if isinstance(network, Normalised):
        return float((1 / network.std).mean())
    return 2.0 if any(isinstance(module, Centred) for module in network.modules()) else 1.0
