"""What a scenario's defenses will cost, told before any training: passes they declare, in seconds on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import cache

import torch

from defenses.base import Size
from simulator.preflight.clashes import mistakes_of
from simulator.production.defending.examine import examined
from simulator.production.defending.facts import DefenseFacts
from simulator.production.training.networks import build_network
from simulator.records import digest_of
from simulator.scenario.model import Scenario, Use
from simulator.scenario.overrides import resolved_arms
from simulator.world.sources.base import SourceData
from simulator.world.world import load_source

#: images of the pass that is timed
_IMAGES = 64
#: seconds a call below which nothing is said of it, unless it may reach its limit
_WORTH_TELLING = 20.0
#: the keys of a scenario that decide what a call costs, and what is said of that
_DECIDING = ("source", "stream", "trusted", "defenses", "defense_seconds", "defense_passes", "on_timeout", "threads")


def costs_of_all(scenarios: Iterable[Scenario]) -> list[str]:
    """Return the sentences of `defense_costs` for all `scenarios`, each once.

    A source is loaded once, and only for defenses that declare their passes.
    """
    load = cache(lambda text: load_source(Use.model_validate_json(text)))
    told: dict[str, None] = {}
    seen: set[str] = set()
    for arm in (arm for scenario in scenarios for arm in resolved_arms(scenario).values()):
        key = digest_of({name: arm.tree[name] for name in _DECIDING} | {"network": arm.tree["recipe"]["network"]})
        if key not in seen and any(examined(use, in_process=arm.in_process).tells_passes for use in arm.defenses):
            told |= dict.fromkeys(defense_costs(arm, load(arm.source.model_dump_json())))
        seen.add(key)
    return list(told)


def defense_costs(scenario: Scenario, source: SourceData) -> list[str]:
    """Return a sentence for each defense whose call takes long, or may reach the limit that the scenario sets.

    Only methods that declare their passes are told of. The network is timed on the CPU, as far as it can be built.
    """
    told: dict[str, None] = {}
    for arm in resolved_arms(scenario).values():
        facts = _facts(arm, source)
        if any(fact.passes for _, fact in facts):
            each = _seconds_a_pass(arm, source)
            told |= dict.fromkeys(line for use, fact in facts for line in _told(arm, use, fact, each))
    return list(told)


def _facts(arm: Scenario, source: SourceData) -> list[tuple[Use, DefenseFacts]]:
    sizes = {
        "filter": Size(source.classes, arm.trusted.images, max(arm.stream.base, arm.stream.batch)),
        "training": Size(source.classes, arm.trusted.images, max(arm.stream.base, arm.stream.batch)),
        "screen": Size(source.classes, arm.trusted.images, arm.stream.test),
    }
    found: list[tuple[Use, DefenseFacts]] = []
    for use in arm.defenses:
        fact = examined(use, in_process=arm.in_process)
        if fact.tells_passes:
            size = sizes.get(fact.surface, Size(source.classes, arm.trusted.images))
            found.append((use, examined(use, in_process=arm.in_process, size=size)))
    return found


def _told(arm: Scenario, use: Use, fact: DefenseFacts, each: float) -> list[str]:
    passes, limit = fact.passes or 0, arm.defense_passes
    seconds = passes * each
    if limit is not None and passes > limit:
        return [
            f"the defense '{use.use}' may need {passes:,} passes a call, {limit:,} are allowed: such a call ends as "
            f"a timeout{_meaning(arm, fact)}; raise defense_passes, or choose cheaper options"
        ]
    tight = not arm.in_process and limit is None and seconds > arm.defense_seconds / 2
    if seconds < _WORTH_TELLING and not tight:
        return []
    told = f"the defense '{use.use}' takes up to {passes:,} passes a call: about {_duration(seconds)} on this machine"
    if not tight:
        return [told]
    return [
        f"{told}, of {arm.defense_seconds:g} seconds allowed; a call that reaches the limit ends as a timeout"
        f"{_meaning(arm, fact)}; raise defense_seconds, or choose cheaper options"
    ]


def _meaning(arm: Scenario, fact: DefenseFacts) -> str:
    """Say what a timeout leads to."""
    if fact.surface != "inspector":
        refused = "all images are refused" if fact.surface == "screen" else "the candidate is rejected"
        closed = arm.on_timeout == "closed"
        if fact.surface == "training" and not closed:
            return ", and the platform trains itself"
        return f", and {refused} (on_timeout: closed)" if closed else ", and what it looked at stays as it was"
    taken = "no inspection" if arm.on_timeout == "pass" else "a failed inspection"
    return f", which the gate takes for {taken} (on_timeout: {arm.on_timeout})"


def _seconds_a_pass(arm: Scenario, source: SourceData) -> float:
    """Return the seconds that one image takes forward through the arm's network; 0 where it cannot be built."""
    channels, height, width = source.shape
    threads = torch.get_num_threads()
    spent: list[float] = []

    def timed() -> None:
        network = build_network(
            arm.recipe.network, channels=channels, size=(height, width), classes=source.classes, seed=0
        ).eval()
        images = torch.zeros(_IMAGES, channels, height, width)
        for _ in range(2):  # the first one makes ready what the second uses
            began = time.perf_counter()
            network(images)
            spent.append(time.perf_counter() - began)

    torch.set_num_threads(arm.threads)
    try:
        with torch.no_grad():
            mistakes_of(timed)  # another check tells of a network that does not fit
    finally:
        torch.set_num_threads(threads)
    return min(spent, default=0.0) / _IMAGES


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
