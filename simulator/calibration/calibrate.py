"""Calibrates a defense: plays clean lineages until there are enough updates, and sets its threshold on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

from simulator.calibration.control import Control, Look, controlled, looks_needed
from simulator.calibration.lineage import APART, CleanLineage, clean_scenario, play_clean
from simulator.errors import PluginError, ScenarioError
from simulator.preflight.scenario import check_scenario
from simulator.production.defending.examine import examined
from simulator.production.defending.facts import DefenseFacts
from simulator.scenario.model import DefenseUse, Scenario
from simulator.scenario.overrides import arm_scenario
from simulator.scenario.sentences import near

#: lineages that are played at most where their number is not given
MOST_LINEAGES: Final = 50
#: why a defense has no threshold that clean updates could set, by its `calibration`
_WITHOUT: Final = {
    "paper": "its thresholds are those of its paper, or the share that it drops",
    "trusted images": "it sets its thresholds on the trusted images by itself",
    "earlier versions": "it sets its thresholds on earlier versions by itself",
    "none": "it has no threshold",
}


@final
@dataclass(frozen=True, slots=True)
class Calibrated:
    """A defense with the threshold that was set: `use` is its entry in a scenario.

    `value` is that of `option`; `before` the one it had. `flags` says on which side of it is flagged. `unit` is what
    is judged: an update whole, or rows or images. `lineages` are those it was set on, `control` what follows.
    """

    use: dict[str, Any]
    option: str
    value: float
    before: Any
    flags: str
    unit: str
    rate: float
    lineages: tuple[CleanLineage, ...]
    control: Control

    @property
    def looks(self) -> tuple[Look, ...]:
        """What the defense said of every clean update."""
        return tuple(look for lineage in self.lineages for look in lineage.looks.values())

    @property
    def silent(self) -> Counter[str]:
        """Why it said nothing of others, each reason with the number of times."""
        return sum((lineage.silent for lineage in self.lineages), Counter[str]())

    @property
    def lost_before(self) -> float:
        """The mean share that clean updates lost at the options that the defense had."""
        return sum(look.flagged / look.rows for look in self.looks) / len(self.looks)


@final
@dataclass(frozen=True, slots=True)
class Request:
    """What to calibrate: the defense named `defense`, on the arm of `scenario`, at the false-alarm rate `rate`.

    `lineages` is how many are played, None: as many as the rate needs.
    """

    defense: str
    scenario: Scenario
    rate: float
    arm: str | None = None
    lineages: int | None = None


def _unheard(share: float) -> None:
    """Nobody asked."""


def calibrate(
    request: Request,
    say: Callable[[str], None] = lambda text: None,
    *,
    processes: int | None = None,
    done: Callable[[float], None] = _unheard,
) -> Calibrated:
    """Play clean lineages and return the defense with its threshold; `say` is told what was played, `done` the share.

    Raises `ScenarioError` where the scenario cannot be played, or has too few updates for the rate, and `PluginError`
    where the defense has no threshold to set.
    """
    if not 0 < request.rate < 1:
        raise ScenarioError(f"expected --rate to be above 0 and below 1, got {request.rate:g}; give e.g. 0.05")
    arm = _arm(request.scenario, request.arm)
    asked = next((one for one in arm.defenses if one.use == request.defense), DefenseUse(use=request.defense))
    facts = examined(asked, in_process=arm.in_process)
    _expect_threshold(asked.use, facts)
    _expect_enough(request, arm)
    lineages = _played(request, arm, asked, facts, say, processes, done)
    return _set(request, asked, facts, lineages)


def _arm(scenario: Scenario, name: str | None) -> Scenario:
    if name is None and len(scenario.arms) > 1:
        raise ScenarioError(
            f"expected --arm, for '{scenario.name}' has several arms, got none; give one of {', '.join(scenario.arms)}"
        )
    if name is not None and name not in scenario.arms:
        hint = near(name, scenario.arms, f"it has {', '.join(scenario.arms)}")
        raise ScenarioError(f"expected --arm to be an arm of '{scenario.name}', got '{name}'; {hint}")
    return arm_scenario(scenario, name or next(iter(scenario.arms)))


def _expect_threshold(use: str, facts: DefenseFacts) -> None:
    if facts.threshold_option is not None:
        return
    if facts.surface in ("repair", "training"):
        why = f"a {facts.surface} judges nothing, so it raises no false alarm"
    else:
        why = _WITHOUT[facts.calibration]
    raise PluginError(
        f"expected a defense with a threshold that clean updates can set, got '{use}': {why}; "
        "a class of your own says which option is its threshold by `threshold_option` (docs/writing-a-defense.md)"
    )


def _expect_enough(request: Request, arm: Scenario) -> None:
    """Refuse what too few updates cannot promise before anything is trained."""
    needed, most = looks_needed(request.rate), (request.lineages or MOST_LINEAGES) * (arm.periods + 1)
    if most < needed:
        raise _too_few(request, most, needed, "at most ")


def _too_few(request: Request, found: int, needed: int, how: str) -> ScenarioError:
    return ScenarioError(
        f"expected {needed} clean updates, the fewest that can promise a false-alarm rate of {request.rate:g}, got "
        f"{how}{found}, which promise {1 / (found + 1):.3g}; play {needed - found} more with a larger --seeds or "
        "--set periods=..., or raise --rate"
    )


def _played(
    request: Request,
    arm: Scenario,
    asked: DefenseUse,
    facts: DefenseFacts,
    say: Callable[[str], None],
    processes: int | None,
    done: Callable[[float], None],
) -> tuple[CleanLineage, ...]:
    needed, found = looks_needed(request.rate), list[CleanLineage]()
    for place in range(request.lineages or MOST_LINEAGES):
        clean = clean_scenario(arm, asked, facts, arm.seed + APART + place)
        if not place:
            check_scenario(clean, data=True)
        found.append(play_clean(clean, processes=processes))
        looked = sum(len(one.looks) for one in found)
        done((place + 1) / request.lineages if request.lineages else min(1.0, looked / needed))
        say(f"seed {clean.seed}: {len(found[-1].looks)} clean updates looked at")
        if not found[-1].looks:
            break
        if request.lineages is None and looked >= needed:
            break
    looks, silent = sum(len(one.looks) for one in found), sum((one.silent for one in found), Counter[str]())
    if not looks:
        raise PluginError(f"expected '{asked.use}' to judge some clean update, got none: {most_frequent(silent)}")
    if looks < needed:
        error = _too_few(request, looks, needed, "")
        if silent:
            error.add_note(f"It judged no others: {most_frequent(silent)}")
        raise error
    return tuple(found)


def most_frequent(silent: Counter[str]) -> str:
    """Return the three most frequent reasons why a defense said nothing.

    >>> most_frequent(Counter(["skipped: no parent", "skipped: no parent", "failed: no luck"]))
    'skipped: no parent (2 times); failed: no luck (once)'
    """
    told = (f"{reason} ({'once' if count == 1 else f'{count} times'})" for reason, count in silent.most_common(3))
    return "; ".join(told) or "it was never asked"


def _set(request: Request, asked: DefenseUse, facts: DefenseFacts, lineages: tuple[CleanLineage, ...]) -> Calibrated:
    threshold = facts.threshold_option
    assert threshold is not None
    control = controlled([look for one in lineages for look in one.looks.values()], request.rate)
    value = control.threshold if threshold.flags == "above" else -control.threshold
    use = {**asked.model_dump(mode="json"), threshold.option: value}
    try:
        examined(DefenseUse.model_validate(use), in_process=request.scenario.in_process)
    except PluginError as error:
        raise PluginError(
            f"expected a value of {threshold.option} at which '{asked.use}' flags few enough clean updates, got "
            f"{value:g}, which it refuses: {error}; it cannot be calibrated at this rate with these options"
        ) from None
    units = {"filter": "rows", "screen": "images"}
    return Calibrated(
        use=use,
        option=threshold.option,
        value=value,
        before=asked.options.get(threshold.option, facts.defaults.get(threshold.option)),
        flags=threshold.flags,
        unit=units.get(facts.surface, "updates") if threshold.of == "scores" else "updates",
        rate=request.rate,
        lineages=lineages,
        control=control,
    )
