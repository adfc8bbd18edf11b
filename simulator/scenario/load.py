"""Find, load and complete scenarios. Loads no torch; `preflight.scenario` checks them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from simulator.errors import ScenarioError
from simulator.scenario.limits import read_bounded, require_shallow
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import over_defaults, validated, with_value
from simulator.scenario.paths import absolute
from simulator.scenario.sentences import near, shown
from simulator.scenario.text import parse


def presets() -> list[str]:
    """Return the names of the scenarios that ship with ebbdoor."""
    return named(files("simulator.scenario") / "presets")


def named(folder: Traversable) -> list[str]:
    """Return the names of the YAML files in `folder`."""
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_scenario(name_or_path: str, overrides: Sequence[str] = ()) -> Scenario:
    """Return the scenario of a preset's name or of a YAML file, with `KEY=VALUE` overrides laid over it.

    KEY is dotted (`stream.batch`, `drift.0.degrees`), VALUE is YAML. A section's keys are merged into it; a plug-in
    (a mapping with `use`), a list or the set of arms is replaced whole. What a file leaves out keeps its default in
    the same way. Relative paths in a file start from its folder, those of overrides from the working directory; in the
    scenario they are absolute. Raises `ScenarioError` naming every mistake, one a line. Plug-ins are not looked
    at: `preflight.scenario.check_scenario` does.
    """
    values = read_yaml(name_or_path, "scenario", files("simulator.scenario") / "presets")
    tree = over_defaults(values)
    for override in overrides:
        key, value = split_override(override)
        tree = with_value(tree, key, absolute(value, Path.cwd(), key))
    return validated(tree)


def read_yaml(name_or_path: str, what: str, shipped: Traversable) -> dict[str, Any]:
    """Return the keys of a `what` (scenario, study) by its name in the folder `shipped` or by its path.

    Relative paths in a file are made absolute. Raises `ScenarioError` when there is none, or it holds no YAML mapping.
    """
    values = parse(_text(name_or_path, what, shipped), name_or_path)
    if not isinstance(values, dict):
        raise ScenarioError(f"expected {name_or_path} to hold the keys of a {what}, got {shown(values)}; add some")
    return absolute(values, Path(name_or_path).absolute().parent) if _is_file(name_or_path) else values


def split_override(override: str) -> tuple[str, Any]:
    """Return key and value of a `KEY=VALUE` override; VALUE is YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ScenarioError(f"expected --set to be KEY=VALUE, got {shown(override)}; write e.g. --set stream.batch=500")
    require_shallow(key)
    return key.strip(), parse(text, f"--set {key.strip()}")


def _text(name_or_path: str, what: str, shipped: Traversable) -> str:
    if _is_file(name_or_path):
        return _read(Path(name_or_path), what)
    names = named(shipped)
    if name_or_path in names:
        return (shipped / f"{name_or_path}.yaml").read_text("utf-8")
    hint = near(name_or_path, names, f"presets are {', '.join(names)}")
    raise ScenarioError(f"expected a preset's name or a .yaml file, got '{name_or_path}'; {hint}")


def _is_file(name_or_path: str) -> bool:
    """Whether a file is meant, not the name of what ships."""
    path = Path(name_or_path)
    return path.suffix in (".yaml", ".yml") or len(path.parts) > 1


def _read(path: Path, what: str) -> str:
    try:
        return read_bounded(path).decode("utf-8")
    except FileNotFoundError:
        raise ScenarioError(f"expected a {what} in {path}, got no such file; check the path") from None
    except (OSError, ValueError) as error:  # a NUL in the path, bytes that are not UTF-8
        raise ScenarioError(f"expected a {what} in {path}, got {error}; give a readable text file") from None
