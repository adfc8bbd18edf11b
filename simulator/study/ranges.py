"""What the sides of a comparison can be at all, and claims that only one outcome could come of: refused beforehand.

A test of an endpoint that lies on its bound cannot fail: survival counted up to ten updates, minus ten, is never above
0, however many backdoors live on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from simulator.observer.measures import MEASURES
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import arm_scenario
from simulator.study.claims.sides import EXPOSURE, LIVED
from simulator.study.model import ERASED, RANK_CORRELATION, SURVIVAL, ClaimSpec, EndpointSpec, Side, is_share
from simulator.study.timelines import Timeline

Range = tuple[float, float]

_ANY: Range = (-math.inf, math.inf)
_READINGS = {item.reading: item for item in MEASURES if item.reading is not None}
_KEYS = {item.key: item for item in _READINGS.values()}
#: columns of one timeline of which the first is never above the second, whatever happens
_ORDERED = (
    ("survival_updates_0.5", "survival_updates_0.1"),
    ("survival_periods_0.5", "survival_periods_0.1"),
    ("survival_updates_0.5", "survival_periods_0.5"),
    ("survival_updates_0.1", "survival_periods_0.1"),
    ("survival_updates_0.5", "followed_updates"),
    ("survival_updates_0.5", "updates"),
    ("followed_updates", "updates"),
    ("updates", "last_period"),
    ("false_alarms", "alarms"),
    ("false_alarms", "undrifted_periods"),
    ("alarms", "last_period"),
)


def one_sided(where: str, claim: ClaimSpec, settings: Mapping[str, Sequence[Timeline]]) -> Iterator[str]:
    """Yield a sentence where the endpoint of `claim` can only fall on one side of its gate."""
    low, high = _difference(claim, settings)
    gate, name = claim.gate, claim.endpoint.measure
    if is_share(claim.endpoint, claim.other):
        gate += claim.other.value or 0.0
    if claim.direction == "within":
        if max(high, -low) <= gate:
            yield (
                f"{where}: expected an endpoint that can lie beyond the gates, got '{name}', which is never further "
                f"than {max(high, -low):g} from 0, for gates of ±{gate:g}; narrow them"
            )
    elif not low < gate < high:
        bound = f"never below {low:g}" if gate <= low else f"never above {high:g}"
        yield (
            f"{where}: expected an endpoint that can fall on either side of the gate {gate:g}, got '{name}', which "
            f"here is {bound}; {_remedy(claim)}"
        )


def _remedy(claim: ClaimSpec) -> str:
    if claim.endpoint.measure in (SURVIVAL, ERASED):
        return "claim a share of seeds, as in endpoint: {measure: erased, horizon: 20}, other: {value: 0.7}"
    return "move the gate inside what is possible, or compare other sides"


def _difference(claim: ClaimSpec, settings: Mapping[str, Sequence[Timeline]]) -> Range:
    """The lowest and the highest that the endpoint can be; of a share, that of the share itself."""
    one, other, endpoint = claim.one, claim.other, claim.endpoint
    mine = _side(one, endpoint, settings)
    if is_share(endpoint, other):
        return mine
    theirs = _side(other, endpoint, settings)
    low, high = mine[0] - theirs[1], mine[1] - theirs[0]
    if (ordered := _in_order(one, other, endpoint)) is not None:
        return {-1: (low, 0.0), 0: (0.0, 0.0), 1: (0.0, high)}[ordered]
    return low, high


def _in_order(one: Side, other: Side, endpoint: EndpointSpec) -> int | None:
    """-1 or 1 where one side is never above or below the other, 0 where they are the same, None where neither."""
    if one.setting is None or one.setting != other.setting:
        return 0 if one == other and one.correlation is not None else None
    mine, theirs = (
        (side.measure or endpoint.measure, endpoint.over if side.over is None else side.over) for side in (one, other)
    )
    if mine == theirs:
        return 0
    if (mine[0], theirs[0]) in _ORDERED:
        return -1
    return 1 if (theirs[0], mine[0]) in _ORDERED else None


def _side(side: Side, endpoint: EndpointSpec, settings: Mapping[str, Sequence[Timeline]]) -> Range:
    if side.value is not None:
        return side.value, side.value
    if side.correlation is not None or endpoint.measure == RANK_CORRELATION:
        return -1.0, 1.0
    scenario = _scenario(settings[side.setting or ""][0])
    over = endpoint.over if side.over is None else side.over
    return value_range(side.measure or endpoint.measure, endpoint.model_copy(update={"over": over}), scenario)


def _scenario(timeline: Timeline) -> Scenario:
    return arm_scenario(timeline.scenario, timeline.arm)


def value_range(measure: str, endpoint: EndpointSpec, scenario: Scenario) -> Range:
    """Return the lowest and the highest value that a timeline of `scenario` can have."""
    if measure == SURVIVAL:
        return 0.0, min(endpoint.horizon or math.inf, most_updates(scenario))
    if measure == ERASED:
        return 0.0, float(most_updates(scenario) > 0)
    if "/" not in measure:
        return _column(measure, scenario)
    if endpoint.over == "trend":
        return -1.0, 1.0
    low, high = _reading(measure)
    if measure == LIVED and endpoint.given == "erased" and endpoint.over == "erased":
        high = endpoint.threshold  # it is erased because it is below
    if endpoint.below is not None:
        return float(high < endpoint.below), float(low < endpoint.below)
    return low, high


def most_updates(scenario: Scenario) -> int:
    """Return the most updates that a timeline of `scenario` can have, as far as its policy says so beforehand."""
    policy = scenario.policy
    if policy.use == "never":
        return 0
    listed = policy.options.get("periods") if policy.use == "scripted" else None
    return min(scenario.periods, len(listed)) if isinstance(listed, list | tuple) else scenario.periods


def _reading(name: str) -> Range:
    item = _READINGS.get(name)
    low, high = (None, None) if item is None else item.bounds
    return -math.inf if low is None else low, math.inf if high is None else high


def _column(name: str, scenario: Scenario) -> Range:
    """The range of a column of the timelines table."""
    if name == EXPOSURE:
        return -1.0, 1.0
    if name == "exposure":
        return -float(scenario.periods + 1), float(scenario.periods + 1)
    if name == "mean_clean_accuracy" or name.startswith(("planted", "erased_0", "dormant")):
        return 0.0, 1.0
    key = name.removeprefix("initial_").removeprefix("final_")
    if key != name and key in _KEYS:
        return _reading(_KEYS[key].name)
    if "updates" in name and not name.startswith("predicted"):
        return 0.0, float(most_updates(scenario))
    if "periods" in name or name.removeprefix("free_") in ("alarms", "false_alarms"):
        return 0.0, float(scenario.periods)
    return (0.0, math.inf) if name == "seconds" else _ANY
