"""Keys of a scenario that are valid one by one and contradict each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from simulator.errors import ScenarioError
from simulator.production.monitors.base import Monitor
from simulator.production.rules import read_rules
from simulator.production.training.checkpoints import read_checkpoint
from simulator.production.training.device import check_precision, choose_device
from simulator.scenario import catalog
from simulator.scenario.model import Scenario
from simulator.world.adaptive import Adaptive, AfterRepair
from simulator.world.campaign import CampaignView
from simulator.world.drift import Drift
from simulator.world.stream import RELEARNING_DRAWS


def clashes(arm: Scenario, built: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every clash. `built` holds the plug-ins by key; those that failed to build are left out."""
    return [
        *_sizes(arm),
        *_times(arm),
        *_arrivals(arm, built),
        *_attack(arm, built),
        *_campaign(arm, built),
        *_alarms(built),
        *_compared(arm, built),
        *_trusted(arm, built),
        *_asked(arm, built),
        *_shadow(arm),
        *_rules(arm, built),
        *_probes(arm, built),
        *_twins(arm),
        *mistakes_of(lambda: check_precision(arm.recipe.precision, choose_device(arm.device))),
        *mistakes_of(lambda: arm.base and read_checkpoint(arm.base.from_)),
    ]


def mistakes_of(check: Callable[[], object]) -> list[str]:
    """Return what is wrong by `check`, which raises `ScenarioError` with a mistake a line."""
    try:
        check()
    except ScenarioError as error:
        return str(error).splitlines()
    return []


def _sizes(arm: Scenario) -> Iterator[str]:
    for name, rows, source in (("base", arm.stream.base, "base"), ("update", arm.stream.batch, "batch")):
        batch = getattr(arm.recipe, name).batch
        if batch > rows:
            yield (
                f"expected recipe.{name}.batch to be at most stream.{source} ({rows} rows), got {batch}; "
                f"lower it, or raise stream.{source}"
            )


def _times(arm: Scenario) -> Iterator[str]:
    delay, origin = arm.stream.label_delay, arm.trusted.from_
    if delay >= arm.periods:
        yield (
            f"expected stream.label_delay to be below periods ({arm.periods}), got {delay}; "
            "lower it, or no label ever arrives"
        )
    if origin != "latest" and origin > arm.periods:
        yield f"expected trusted.from to be at most periods ({arm.periods}), got {origin}; name a period that is played"


def _arrivals(arm: Scenario, built: Mapping[str, Any]) -> Iterator[str]:
    if arm.stream.arrivals is None:
        return
    for index, use in enumerate(arm.drift):
        drift = built.get(f"drift.{index}")
        if drift is not None and type(drift).prior is not Drift.prior:
            yield (
                f"expected no drift of the class shares with stream.arrivals, got '{use.use}': a file's rows are what "
                "they are; leave it out, or write files with such shares"
            )
    if arm.stream.reuse == "recycle":
        yield (
            "expected stream.reuse to be refuse with stream.arrivals, got recycle: a file becomes a period exactly "
            "once; leave it out"
        )


def _attack(arm: Scenario, built: Mapping[str, Any]) -> Iterator[str]:
    if "attack" not in built or "campaign" not in built:
        return
    attacks = not _is(built["attack"], "attacks", "none")
    poisons = not _is(built["campaign"], "campaigns", "none")
    if poisons and not attacks:
        yield (
            f"expected an attack for the campaign '{arm.campaign.use}' to carry out, got none; "
            "choose an attack, or campaign: {use: none}"
        )
    # The user's own checkpoint may hold the backdoor already.
    if attacks and not poisons and arm.base is None:
        yield (
            f"expected a campaign to carry out the attack '{arm.attack.use}', got none; "
            "choose a campaign, or attack: {use: none}"
        )


def _campaign(arm: Scenario, built: Mapping[str, Any]) -> Iterator[str]:
    campaign = built.get("campaign")
    if isinstance(campaign, Adaptive | AfterRepair) and campaign.start > arm.periods:
        yield (
            f"expected campaign '{arm.campaign.use}' to start by period {arm.periods}, got start {campaign.start}; "
            "lower it, or raise periods"
        )
    if campaign is None or campaign.adaptive or _is(campaign, "campaigns", "none"):
        return
    if not any(campaign.rate(CampaignView(period=period)) > 0 for period in range(arm.periods + 1)):
        yield (
            f"expected campaign '{arm.campaign.use}' to poison in some period from 0 to {arm.periods}, "
            "got a rate of 0 in all of them; change its periods or rates, or raise periods"
        )


def _alarms(built: Mapping[str, Any]) -> Iterator[str]:
    policy, monitor = built.get("policy"), built.get("monitor")
    if policy is None or monitor is None:
        return
    if _is(policy, "policies", "on-alarm") and policy.at_most is None and _is(monitor, "monitors", "none"):
        yield "expected a monitor for the policy 'on-alarm' to listen to, got none; choose a monitor or another policy"


def _compared(arm: Scenario, built: Mapping[str, Any]) -> Iterator[str]:
    """Too few images for a monitor; without training, no version is ever promoted."""
    monitor = built.get("monitor")
    if not isinstance(monitor, Monitor) or _is(monitor, "monitors", "none"):
        return
    sides = {"stream.validation": arm.stream.validation, "stream.batch": arm.stream.batch}
    never = "policy" in built and _is(built["policy"], "policies", "never")
    promoted = monitor.reference == "promotion" and not never
    if promoted:
        sides["trusted.images"] = arm.trusted.images
    for key, images in sides.items():
        if images < monitor.least_images:
            where = " and its reference: promotion" if key == "trusted.images" else ""
            yield (
                f"expected {key} to be at least {monitor.least_images} for the monitor '{arm.monitor.use}'{where}, "
                f"got {images}; raise it, or choose another {'reference' if where else 'monitor'}"
            )


def _trusted(arm: Scenario, built: Mapping[str, Any]) -> Iterator[str]:
    if arm.trusted.images > 0:
        return
    needy = [
        f"the defense '{use.use}'" for key, use in _defenses(arm) if getattr(built.get(key), "needs_trusted", False)
    ]
    if "gate" in built and _is(built["gate"], "gates", "accuracy"):
        needy.append(f"the gate '{arm.gate.use}'")
    for user in needy:
        yield f"expected trusted.images to be above 0 for {user}, got 0; raise it, or leave {user} out"


def _asked(arm: Scenario, built: Mapping[str, Any]) -> Iterator[str]:
    """Defenses that train in each other's place, or are asked or granted something where that has no meaning."""
    surfaces = {key: getattr(built.get(key), "surface", None) for key, _ in _defenses(arm)}
    trains = [use.use for key, use in _defenses(arm) if surfaces[key] == "training"]
    if len(trains) > 1:
        yield f"expected one defense to train in the platform's place, got {', '.join(trains)}; leave the others out"
    for key, use in _defenses(arm):
        if use.when == "at-promotion" and surfaces[key] not in ("inspector", None):
            yield f"expected {key}.when to be at-promotion of an inspector only, got a {surfaces[key]}; choose another"
        if use.may and surfaces[key] == "screen":
            yield f"expected no {key}.may of a screen, which may not ask, got {', '.join(use.may)}; remove it"


def _shadow(arm: Scenario) -> Iterator[str]:
    if arm.shadow.periods >= arm.periods:
        yield (
            f"expected shadow.periods to be below periods ({arm.periods}), got {arm.shadow.periods}; "
            "lower it, or no challenger ever comes out of its shadow"
        )


def _rules(arm: Scenario, built: Mapping[str, Any]) -> Iterator[str]:
    """Rules on numbers that are never measured: the gate would fail closed and promote nothing."""
    if "gate" not in built or not _is(built["gate"], "gates", "rules"):
        return
    try:
        rules = read_rules(built["gate"].file).rules
    except ScenarioError as error:
        yield from str(error).splitlines()
        return
    numbers = {rule.number for rule in rules}
    where = f"the rules in '{built['gate'].file}'"
    if "agreement" in numbers and arm.shadow.periods == 0:
        yield f"expected shadow.periods to be above 0 for {where} on agreement, got 0; raise it, or remove the rule"
    if numbers - {None, "agreement"} and arm.trusted.images == 0:
        yield f"expected trusted.images to be above 0 for {where} on accuracy, got 0; raise it, or remove the rule"
    inspected = any(getattr(built.get(key), "surface", None) == "inspector" for key, _ in _defenses(arm))
    if any(rule.inspectors for rule in rules) and not inspected:
        yield f"expected an inspector among the defenses for {where}, got none; add one, or remove the rule"


def _defenses(arm: Scenario) -> Iterator[tuple[str, Any]]:
    return ((f"defenses.{index}", use) for index, use in enumerate(arm.defenses))


def _probes(arm: Scenario, built: Mapping[str, Any]) -> Iterator[str]:
    probes = {key: built[key] for index in range(len(arm.probes)) if (key := f"probes.{index}") in built}
    for reading, count in Counter(name for probe in probes.values() for name in probe.gives).items():
        if count > 1:
            yield f"expected one probe to give the reading '{reading}', got {count}; leave the others out"
            break
    for key, probe in probes.items():
        draws, poisoned = probe.relearns or (0, 0)
        if draws > RELEARNING_DRAWS:
            yield f"expected {key}.draws to be at most {RELEARNING_DRAWS}, got {draws}; lower it"
        if poisoned > arm.stream.relearning:
            yield (
                f"expected {key}.poisoned to be at most stream.relearning ({arm.stream.relearning} rows), "
                f"got {poisoned}; "
                "lower it, or raise stream.relearning"
            )


def _twins(arm: Scenario) -> Iterator[str]:
    if len(set(arm.twins)) < len(arm.twins):
        yield f"expected every kind of twin once, got {', '.join(arm.twins)}; remove one"


def _is(built: Any, kind: str, name: str) -> bool:
    return type(built) is catalog.resolve(kind, name)
