"""What a program does with scenarios: find, load, take an arm, fill in. Loads no torch; `examine` checks scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from simulator.errors import ScenarioError
from simulator.scenario.arms import RUN_KEYS, arm_scenario
from simulator.scenario.merge import place
from simulator.scenario.model import Scenario
from simulator.scenario.plugins import resolved
from simulator.scenario.sentences import near, shown
from simulator.scenario.text import parse
from simulator.scenario.tree import over_defaults, scenario_of, validated

__all__ = ["RUN_KEYS", "arm_scenario", "load_scenario", "presets", "resolved", "scenario_of"]


def presets() -> list[str]:
    """Return the names of the scenarios that ship with ebbdoor."""
    folder = files("simulator.scenario") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_scenario(name_or_path: str, overrides: Sequence[str] = ()) -> Scenario:
    """Return the scenario of a preset's name or of a YAML file, with `KEY=VALUE` overrides laid over it.

    KEY is dotted (`stream.batch`, `drift.0.degrees`), VALUE is YAML. A section's keys are merged into it; a plug-in
    (a mapping with `use`), a list or the set of arms is replaced whole. What a file leaves out keeps its default in
    the same way. Raises `ScenarioError` naming every mistake, one a line. Plug-ins are not looked
    at: `examine.check_scenario` does.
    """
    values = parse(_text(name_or_path), name_or_path)
    if not isinstance(values, dict):
        raise ScenarioError(f"expected {name_or_path} to hold the keys of a scenario, got {shown(values)}; add some")
    tree = over_defaults(values)
    for override in overrides:
        key, value = _split(override)
        tree = place(tree, key, value)
    return validated(tree)


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
