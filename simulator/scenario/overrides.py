"""From JSON values to a frozen scenario, and from a scenario to its arms: one way to lay values over values for both.

Sections merge key by key; plug-ins, lists and the set of arms are replaced whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from simulator.errors import ScenarioError
from simulator.scenario.model import Scenario
from simulator.scenario.sentences import near, sentences

#: Keys that belong to the run, not to an arm. Arms are compared with each other, so they share seed, source, device,
#: threads, numerics and length; the lineages of a run (`arms`, `twins`) and its name cannot differ within it;
#: `in_process` only changes how defenses are called. A drop folder (`stream.arrivals`) is the run's too.
RUN_KEYS = ("arms", "device", "in_process", "name", "numerics", "periods", "seed", "source", "threads", "twins")


def scenario_of(values: Mapping[str, Any]) -> Scenario:
    """Return the scenario that the JSON values `values` describe; what they leave out keeps its default."""
    return validated(over_defaults(values))


def over_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` laid over the default scenario; the arms are replaced whole."""
    laid: dict[str, Any] = _merged(Scenario().tree, values)
    return {**laid, "arms": values["arms"]} if "arms" in values else laid


def validated(tree: Mapping[str, Any]) -> Scenario:
    """Return the scenario of a whole tree, or raise `ScenarioError` naming every mistake, one a line."""
    try:
        # As JSON, because strictness then means: no text for a number, but a list for a tuple.
        return Scenario.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        raise ScenarioError("\n".join(sentences(error, tree, Scenario))) from None


def _merged(below: Any, above: Any) -> Any:
    """Return `above` laid over `below`: where both are sections (mappings without `use`) key by key, else `above`."""
    if not (_is_section(below) and _is_section(above)):
        return above
    return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}


def with_value(tree: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return `tree` with `value` laid over what the dotted `key` names; keys that are not there yet are made.

    A number names an item of a list, or appends one when it is the list's length. What follows an arm's name is one
    key: `arms.slow.recipe.update.epochs` sets the override `recipe.update.epochs` of the arm `slow`.
    """
    parts = key.split(".")
    if "" in parts:
        raise ScenarioError(f"expected a dotted key such as stream.batch, got '{key}'; write one")
    if key == "arms":
        return {**tree, "arms": value}
    if parts[0] == "arms" and len(parts) > 3:
        parts = [*parts[:2], ".".join(parts[2:])]
    changed: dict[str, Any] = _with(tree, parts, value, ())
    return changed


def _is_section(value: Any) -> bool:
    return isinstance(value, Mapping) and "use" not in value


def _with(node: Any, parts: Sequence[str], value: Any, above: tuple[str, ...]) -> Any:
    if not parts:
        return _merged(node, value)
    head, rest = parts[0], parts[1:]
    if node is None or isinstance(node, Mapping):
        inside = node or {}
        return {**inside, head: _with(inside.get(head), rest, value, (*above, head))}
    if isinstance(node, list):
        index = _index(head, node, above)
        old = node[index] if index < len(node) else None
        return [*node[:index], _with(old, rest, value, (*above, head)), *node[index + 1 :]]
    raise ScenarioError(f"expected {'.'.join(above)} to hold keys, got {node!r}; set {'.'.join(above)} itself")


def _index(text: str, items: list[Any], above: tuple[str, ...]) -> int:
    if text.isascii() and text.isdigit() and int(text) <= len(items):
        return int(text)
    name = ".".join(above)
    raise ScenarioError(
        f"expected {name} to be followed by a place in its list, at most {len(items)}, got '{text}'; "
        f"{name}.{len(items)} appends an item"
    )


def resolved_arms(scenario: Scenario) -> Mapping[str, Scenario]:
    """Return the scenario of each arm by its name, in order (`arm_scenario`); an arm is resolved once in a process."""
    return {arm: arm_scenario(scenario, arm) for arm in scenario.arms}


def arm_scenario(scenario: Scenario, arm: str) -> Scenario:
    """Return the scenario of one arm: its overrides laid over the other keys, its `arms` reduced to `{"main": {}}`.

    Reduced so, because then arms that ask for the same have the same digest. Raises `ScenarioError` when there is no
    such arm, when it overrides one of `RUN_KEYS`, or when its overrides do not fit.
    """
    if arm not in scenario.arms:
        hint = near(arm, scenario.arms, f"it has {', '.join(scenario.arms)}")
        raise ScenarioError(f"expected an arm of '{scenario.name}', got '{arm}'; {hint}")
    return _arm(json.dumps(scenario.tree), arm)


@lru_cache(maxsize=512)  # by the text of the scenario, because equal values such as 1 and 1.0 have other digests
def _arm(text: str, arm: str) -> Scenario:
    whole = json.loads(text)
    tree = {**whole, "arms": {"main": {}}}
    try:
        for key, value in whole["arms"][arm].items():
            _require_own(key)
            tree = with_value(tree, key, value)
        mine = validated(tree)
        if mine.tree["stream"]["arrivals"] != whole["stream"]["arrivals"]:
            raise ScenarioError("expected stream.arrivals to be the same in every arm, got another; set it for the run")
    except ScenarioError as error:
        raise ScenarioError("\n".join(f"arm '{arm}': {line}" for line in str(error).splitlines())) from error
    return mine


def _require_own(key: str) -> None:
    first = key.partition(".")[0]
    if first in RUN_KEYS:
        raise ScenarioError(f"expected an override of what arms may differ in, got '{first}'; set it for the whole run")
