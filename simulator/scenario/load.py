"""From a preset's name or a file to a frozen scenario, and from a scenario to one of its arms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from simulator.catalog import options, resolve
from simulator.errors import ScenarioError
from simulator.scenario.merge import lay_over, place
from simulator.scenario.model import Scenario
from simulator.scenario.plugins import plugins
from simulator.scenario.sentences import near, sentences
from simulator.scenario.text import parse

__all__ = ["RUN_KEYS", "arm_scenario", "load_scenario", "presets", "resolved", "scenario_of"]

#: Keys that belong to the run, not to an arm. Arms are compared with each other, so they share seed, source, device,
#: threads and length; the lines of a run (`arms`, `twins`) and its name cannot differ within it; how defenses are
#: called (`in_process`) is no finding.
RUN_KEYS = ("arms", "device", "in_process", "name", "periods", "seed", "source", "threads", "twins")


def presets() -> list[str]:
    """Return the names of the scenarios that ship with ebbdoor."""
    folder = files("simulator.scenario") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_scenario(name_or_path: str, overrides: Sequence[str] = ()) -> Scenario:
    """Return the scenario of a preset's name or of a YAML file, with `KEY=VALUE` overrides laid over it.

    KEY is dotted (`stream.batch`, `drift.0.degrees`), VALUE is YAML. A section's keys are merged into it; a plug-in
    (a mapping with `use`), a list or the set of arms is replaced whole. What a file leaves out keeps its default in
    the same way. Raises `ScenarioError` naming every mistake, one a line.
    """
    values = parse(_text(name_or_path), name_or_path)
    if not isinstance(values, dict):
        raise ScenarioError(f"expected {name_or_path} to hold a scenario's keys, got {values!r}; see `ebbdoor show`")
    tree = _over_defaults(values)
    for override in overrides:
        key, value = _split(override)
        tree = place(tree, key, value)
    return _validated(tree)


def scenario_of(values: Mapping[str, Any]) -> Scenario:
    """Return the scenario that the JSON values `values` describe; what they leave out keeps its default."""
    return _validated(_over_defaults(values))


def arm_scenario(scenario: Scenario, arm: str) -> Scenario:
    """Return the scenario of one arm: its overrides laid over the other keys, its `arms` reduced to `{"main": {}}`.

    Reduced so, because then arms that ask for the same have the same digest. Raises `ScenarioError` when there is no
    such arm, or it overrides one of `RUN_KEYS`.
    """
    if arm not in scenario.arms:
        hint = near(arm, scenario.arms, f"it has {', '.join(scenario.arms)}")
        raise ScenarioError(f"expected an arm of '{scenario.name}', got '{arm}'; {hint}")
    tree = {**scenario.model_dump(mode="json", by_alias=True), "arms": {"main": {}}}
    try:
        for key, value in scenario.arms[arm].items():
            if key.partition(".")[0] in RUN_KEYS:
                raise ScenarioError(
                    f"expected an override of what arms may differ in, got '{key}'; set it for all arms"
                )
            tree = place(tree, key, value)
        return _validated(tree)
    except ScenarioError as error:
        raise ScenarioError("\n".join(f"arm '{arm}': {line}" for line in str(error).splitlines())) from error


def resolved(scenario: Scenario) -> dict[str, Any]:
    """Return the scenario as JSON values after defaults, the plug-ins' own default options filled in."""
    tree = scenario.model_dump(mode="json", by_alias=True)
    for key, kind, use in plugins(scenario):
        known = options(resolve(kind, use.use))
        defaults = {name: default for name, (_, default) in known.items() if default is not ...}
        tree = place(tree, key, {**use.model_dump(mode="json"), **to_jsonable_python({**defaults, **use.options})})
    return tree


def _text(name_or_path: str) -> str:
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return _read(path)
    if name_or_path in presets():
        return (files("simulator.scenario") / "presets" / f"{name_or_path}.yaml").read_text("utf-8")
    hint = near(name_or_path, presets(), f"presets are {', '.join(presets())}")
    raise ScenarioError(f"expected a preset's name or a .yaml file, got '{name_or_path}'; {hint}")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise ScenarioError(f"expected a scenario in {path}, got no such file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"expected a scenario in {path}, got {error}; give a readable text file") from None


def _split(override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ScenarioError(f"expected --set to be KEY=VALUE, got '{override}'; write e.g. --set stream.batch=500")
    return key.strip(), parse(text, f"--set {key.strip()}")


def _over_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    laid: dict[str, Any] = lay_over(Scenario().model_dump(mode="json", by_alias=True), values)
    return {**laid, "arms": values["arms"]} if "arms" in values else laid


def _validated(tree: Mapping[str, Any]) -> Scenario:
    try:
        # As JSON, because strictness then means: no text for a number, but a list for a tuple.
        return Scenario.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        raise ScenarioError("\n".join(sentences(error, tree, Scenario))) from None
