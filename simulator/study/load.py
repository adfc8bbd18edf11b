"""From a name or a file to a study: its overrides laid over it, its scenario read and given in full."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simulator.errors import ScenarioError
from simulator.scenario.load import load_scenario, named, presets, read_yaml, split_override
from simulator.scenario.overrides import scenario_of, with_value
from simulator.scenario.paths import absolute
from simulator.scenario.sentences import sentences
from simulator.study.model import Study

#: keys whose own keys are dotted: what follows them is one key
_DOTTED = ("set", "grid")


def studies() -> list[str]:
    """Return the names of the studies that ship with ebbdoor."""
    return named(_shipped())


def load_study(name_or_path: str, overrides: Sequence[str] = ()) -> Study:
    """Return the study of a preset's name or of a YAML file, with `KEY=VALUE` overrides laid over it.

    KEY is dotted; what follows `set.` or `grid.` is one key: `set.stream.batch=500` lays a key over the scenario,
    `grid.stream.batch=[500,1000]` adds a side to the grid, `scenario.periods=3` changes the scenario itself. The
    study's `scenario` holds every key, so that its digest covers them. Raises `ScenarioError` naming every mistake, one
    a line. `examine.check_study` checks the rest.
    """
    tree = read_yaml(name_or_path, "study", _shipped())
    beside = Path(name_or_path).parent if name_or_path not in studies() else None
    for override in overrides:
        key, value = split_override(override)
        tree = _overridden(tree, key, absolute(value, Path.cwd(), key), beside)
    return study_of(tree, beside)


def study_of(values: Mapping[str, Any], beside: Path | None = None) -> Study:
    """Return the study that JSON `values` describe; a path of its scenario starts from the folder `beside`."""
    tree = dict(values)
    mistakes: list[str] = []
    try:
        tree = _with_scenario(tree, beside)
    except ScenarioError as error:
        mistakes = [f"scenario: {line}" for line in str(error).splitlines()]
    try:
        # As JSON, because strictness then means: no text for a number, but a list for a tuple.
        study = Study.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        mistakes = [*sentences(error, tree, Study), *mistakes]
    if mistakes:
        raise ScenarioError("\n".join(mistakes))
    return study


def _overridden(tree: Mapping[str, Any], key: str, value: Any, beside: Path | None) -> dict[str, Any]:
    head, _, rest = key.partition(".")
    if head in _DOTTED and rest:
        return {**tree, head: {**(tree.get(head) or {}), rest: value}}
    if head == "scenario" and rest:
        inner = _with_scenario(tree, beside)["scenario"]
        return {**tree, "scenario": with_value(inner, rest, value)}
    return with_value(tree, key, value)


def _with_scenario(tree: Mapping[str, Any], beside: Path | None) -> dict[str, Any]:
    """Return the study's values with its scenario given by all its keys; what is no scenario stays as it is."""
    given = tree.get("scenario")
    if isinstance(given, str):
        return {**tree, "scenario": load_scenario(_found(given, beside)).tree}
    if isinstance(given, Mapping):
        return {**tree, "scenario": scenario_of(given).tree}
    return dict(tree)


def _found(name_or_path: str, beside: Path | None) -> str:
    path = Path(name_or_path)
    if beside is None or name_or_path in presets() or path.is_absolute():
        return name_or_path
    return str(beside / path) if path.suffix in (".yaml", ".yml") else name_or_path


def _shipped() -> Traversable:
    return files("simulator.scenario") / "presets" / "studies"
