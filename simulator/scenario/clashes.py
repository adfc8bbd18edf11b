"""Keys of a scenario that are right one by one and wrong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from simulator import catalog
from simulator.scenario.model import Scenario

__all__ = ["clashes"]


def clashes(arm: Scenario, built: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every clash. `built` holds the plug-ins by key; those that failed to build are left out."""
    return [
        *_sizes(arm),
        *_times(arm, built),
        *_attack(arm, built),
        *_alarms(built),
        *_trusted(arm, built),
        *_probes(arm, built),
        *_device(arm),
        *_checkpoint(arm),
    ]


def _sizes(arm: Scenario) -> Iterator[str]:
    for name, rows, source in (("base", arm.stream.base, "base"), ("update", arm.stream.batch, "batch")):
        batch = getattr(arm.recipe, name).batch
        if batch > rows:
            yield (
                f"expected recipe.{name}.batch to be at most stream.{source} ({rows} rows), got {batch}; "
                f"lower it, or raise stream.{source}"
            )


def _times(arm: Scenario, built: Mapping[str, Any]) -> Iterator[str]:
    delay, origin = arm.stream.label_delay, arm.trusted.from_
    if delay >= arm.periods:
        yield (
            f"expected stream.label_delay to be below periods ({arm.periods}), got {delay}; "
            "lower it, or no label ever arrives"
        )
    if origin != "latest" and origin > arm.periods:
        yield f"expected trusted.from to be at most periods ({arm.periods}), got {origin}; name a period that is played"
    period = getattr(built.get("campaign"), "period", None)
    if isinstance(period, int) and period > arm.periods:
        yield (
            f"expected campaign.period to be at most periods ({arm.periods}), got {period}; "
            "poison a period that is played"
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
    # A checkpoint of the user's own may hold the backdoor already.
    if attacks and not poisons and arm.base is None:
        yield (
            f"expected a campaign to carry out the attack '{arm.attack.use}', got none; "
            "choose a campaign, or attack: {use: none}"
        )


def _alarms(built: Mapping[str, Any]) -> Iterator[str]:
    policy, monitor = built.get("policy"), built.get("monitor")
    if policy is None or monitor is None:
        return
    if _is(policy, "policies", "on-alarm") and policy.at_most is None and _is(monitor, "monitors", "none"):
        yield "expected a monitor for the policy 'on-alarm' to listen to, got none; choose a monitor or another policy"


def _trusted(arm: Scenario, built: Mapping[str, Any]) -> Iterator[str]:
    if arm.trusted.images > 0:
        return
    needy = [
        f"the defense '{use.use}'" for key, use in _defenses(arm) if getattr(built.get(key), "needs_trusted", False)
    ]
    if "gate" in built and _is(built["gate"], "gates", "accuracy"):
        needy.append(f"the gate '{arm.gate.use}'")
    for who in needy:
        yield f"expected trusted.images to be above 0 for {who}, got 0; raise it, or leave {who} out"


def _defenses(arm: Scenario) -> Iterator[tuple[str, Any]]:
    return ((f"defenses.{place}", use) for place, use in enumerate(arm.defenses))


def _probes(arm: Scenario, built: Mapping[str, Any]) -> Iterator[str]:
    probes = [built[key] for place in range(len(arm.probes)) if (key := f"probes.{place}") in built]
    for reading, count in Counter(name for probe in probes for name in probe.gives).items():
        if count > 1:
            yield f"expected one probe to give the reading '{reading}', got {count}; leave the others out"
            return
    if len(set(arm.twins)) < len(arm.twins):
        yield f"expected every kind of twin once, got {', '.join(arm.twins)}; remove one"


def _device(arm: Scenario) -> Iterator[str]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = int(arm.device.partition(":")[2] or 0) if arm.device.startswith("cuda") else None
    if wanted is not None and wanted >= count:
        yield f"expected device to be one of {count} CUDA devices here, got '{arm.device}'; choose auto or cpu"
    if arm.recipe.precision != "float32" and (arm.device == "cpu" or (arm.device == "auto" and count == 0)):
        yield (
            f"expected recipe.precision to be float32 on the CPU, got '{arm.recipe.precision}'; "
            "leave it out, or choose a CUDA device"
        )


def _checkpoint(arm: Scenario) -> Iterator[str]:
    if arm.base is None:
        return
    path = Path(arm.base.from_)
    if path.suffix != ".safetensors":
        yield f"expected base.from to be a .safetensors file, got '{path}'; save the state dict with safetensors"
    elif not path.is_file():
        yield f"expected base.from to be a file, got none at '{path}'; check the path"


def _is(built: Any, kind: str, name: str) -> bool:
    return type(built) is catalog.resolve(kind, name)
