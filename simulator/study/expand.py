"""From a study to its timelines: arms x grid points x seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from simulator.errors import ScenarioError
from simulator.scenario.load import load_scenario
from simulator.scenario.overrides import scenario_of, validated, with_value
from simulator.study.model import Study
from simulator.study.timelines import Timeline

#: timelines of one study: each scenario is validated on its own, and each has a folder
MOST_TIMELINES = 10_000

#: key -> why a grid or `set` cannot hold it
_REFUSED = {
    "arms": "every arm is a setting already; write arms in the scenario",
    "name": "it names no condition; leave it out",
    "seed": "the study's `seeds` give it; list them there",
}
#: `set` may write arms: they are part of the scenario
_REFUSED_IN_SET = {key: reason for key, reason in _REFUSED.items() if key != "arms"}


def timelines_of(study: Study, quick: bool = False) -> tuple[Timeline, ...]:
    """Return the timelines in the order in which they are played: by setting, then by seed.

    Neighbours have different seeds, so that processes side by side ask for different trainings. An arm's overrides lie
    over the grid's values, these over `set`. Two settings that come to the same scenario are both kept. `quick` leaves
    the subset that `Study.quick` names. Raises `ScenarioError` naming every mistake, one a line.
    """
    tree = _tree(study)
    arms: dict[str, dict[str, Any]] = tree["arms"]
    _expect_playable(study, arms)
    points = _points(study)
    found: list[Timeline] = []
    mistakes: dict[str, None] = {}
    for arm in arms:
        for number, point in enumerate(points):
            try:
                found.extend(_of_setting(study, tree, arm, number, point))
            except ScenarioError as error:
                mistakes |= dict.fromkeys(str(error).splitlines())
    if mistakes:
        raise ScenarioError("\n".join(mistakes))
    return tuple(timeline for timeline in found if not quick or _is_quick(study, timeline))


def _expect_playable(study: Study, arms: Iterable[str]) -> None:
    """Refuse a grid whose timelines nobody could play, before they are made: two lines of YAML give 10**9 of them."""
    points = math.prod(len(values) for values in study.grid.values())
    seeds = sum(len(study.arm_seeds.get(arm, study.seeds)) for arm in arms)
    count = points * seeds
    if count > MOST_TIMELINES:
        raise ScenarioError(
            f"expected at most {MOST_TIMELINES} timelines, got {count} ({points} grid points, {seeds} seeds "
            "of arms); shorten the grid, or make several studies of it"
        )


def setting_name(arm: str, point: Mapping[str, Any]) -> str:
    """Return `ARM`, or `ARM key=value key=value` at a grid point; text bare, other values as JSON."""
    return " ".join([arm, *(f"{key}={_text(value)}" for key, value in point.items())])


def _tree(study: Study) -> dict[str, Any]:
    """Return the scenario's values with `set` laid over them."""
    for key in study.set:
        _require_settable(key, "set", _REFUSED_IN_SET)
    given = study.scenario
    tree = (load_scenario(given) if isinstance(given, str) else scenario_of(given)).tree
    for key, value in study.set.items():
        tree = with_value(tree, key, value)
    return validated(tree).tree


def _points(study: Study) -> list[dict[str, Any]]:
    for key, values in study.grid.items():
        _require_settable(key, "grid", _REFUSED)
        texts = [_text(value) for value in values]
        for text in texts:
            if texts.count(text) > 1:
                raise ScenarioError(f"expected the values of grid.{key} to differ, got {text} twice; remove one")
    return [dict(zip(study.grid, values, strict=True)) for values in product(*study.grid.values())]


def _require_settable(key: str, where: str, refused: Mapping[str, str]) -> None:
    first = key.partition(".")[0]
    if first in refused:
        raise ScenarioError(f"expected {where} to hold other keys of the scenario, got '{first}': {refused[first]}")


def _of_setting(
    study: Study, tree: Mapping[str, Any], arm: str, number: int, point: Mapping[str, Any]
) -> Iterator[Timeline]:
    mine = {**tree, "arms": {arm: tree["arms"][arm]}}
    for key, value in point.items():
        mine = with_value(mine, key, value)
    if arm in study.arm_periods:
        mine["periods"] = study.arm_periods[arm]
    part = f"-p{number}" if point else ""
    for seed in study.arm_seeds.get(arm, study.seeds):
        scenario = validated({**mine, "seed": seed})
        yield Timeline(study.name, arm, point, seed, setting_name(arm, point), f"{arm}{part}-s{seed}", scenario)


def _is_quick(study: Study, timeline: Timeline) -> bool:
    quick = study.quick
    if quick is None:
        raise ScenarioError(f"expected study '{study.name}' to name its quick subset, got none; add `quick`")
    return timeline.seed in quick.seeds and (quick.settings is None or timeline.setting in quick.settings)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
