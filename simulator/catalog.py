"""From a name to a plug-in: an entry-point name (`ebbdoor.<kind>`) or `module:Name`, with suggestions for near misses.

Listing imports nothing. A plug-in's constructor signature is its schema: options are checked here against it.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from simulator.errors import PluginError

__all__ = ["KINDS", "build", "names", "options", "resolve"]

#: kind -> what one member is called in a sentence
KINDS: dict[str, str] = {
    "sources": "source",
    "drifts": "drift",
    "attacks": "attack",
    "campaigns": "campaign",
    "monitors": "monitor",
    "policies": "policy",
    "networks": "network",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "defenses": "defense",
    "gates": "gate",
    "probes": "probe",
}


@cache
def _points(kind: str) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"ebbdoor.{kind}"):
        other = found.get(point.name)
        if other is not None and other.value != point.value:
            raise PluginError(
                f"expected one {KINDS[kind]} to be named '{point.name}', got two: {other.value} and {point.value}; "
                "uninstall one, or name it as module:Name"
            )
        found[point.name] = point
    return dict(sorted(found.items()))


def names(kind: str) -> dict[str, str]:
    """Return the short names of a kind and where each points (`module:Name`), without importing anything."""
    return {name: point.value for name, point in _points(_known(kind)).items()}


def resolve(kind: str, use: str, *, also: tuple[str, ...] = ()) -> Any:
    """Return the class or function that `use` names. `also` are further names to suggest from."""
    noun = KINDS[_known(kind)]
    if ":" in use:
        return _import(noun, use)
    point = _points(kind).get(use)
    if point is None:
        near = difflib.get_close_matches(use, [*_points(kind), *also], n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(repr(name) for name in near)}?"
            if near
            else f"`ebbdoor list {kind}` shows them all"
        )
        raise PluginError(f"expected a known {noun}, or module:Name, got '{use}'; {hint}")
    return _import(noun, point.value)


def options(member: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Return a plug-in's options: name -> (type, default), read from its signature's keyword-only parameters."""
    function = member.__init__ if inspect.isclass(member) else member  # type: ignore[misc]
    hints = get_type_hints(function)
    parameters = inspect.signature(member).parameters.values()
    return {
        p.name: (hints.get(p.name, Any), ... if p.default is inspect.Parameter.empty else p.default)
        for p in parameters
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }


def build(kind: str, use: str, given: Mapping[str, Any] | None = None) -> Any:
    """Construct the plug-in `use` with the options `given`, or raise `PluginError` naming what is wrong."""
    member = resolve(kind, use)
    checked = check_options(f"{KINDS[kind]} '{use}'", member, given or {})
    try:
        return member(**checked)
    except ValueError as error:
        raise PluginError(f"{KINDS[kind]} '{use}': {error}") from error


def check_options(owner: str, member: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` checked and converted against the signature of `member`; only options given are returned."""
    known = options(member)
    unknown = [name for name in given if name not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"it takes {', '.join(known) or 'no options'}"
        raise PluginError(f"{owner}: expected an option it knows, got '{unknown[0]}'; {hint}")
    model = create_model("Options", __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True), **known)  # type: ignore[call-overload]
    try:
        value = model(**given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise PluginError(f"{owner}: expected '{place}' to be given, got nothing; add it") from error
        raise PluginError(
            f"{owner}: expected '{place}' to fit ({first['msg']}), got {first['input']!r}; correct it"
        ) from error
    return {name: getattr(value, name) for name in given}


def _known(kind: str) -> str:
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"kinds are {', '.join(KINDS)}"
        raise PluginError(f"expected a kind of plug-in, got '{kind}'; {hint}")
    return kind


def _import(noun: str, path: str) -> Any:
    module_name, _, name = path.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:  # a user's own file beside the scenario
        sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise PluginError(
            f"expected {noun} '{path}' to be importable, got {type(error).__name__}: {error}; "
            "install its package, or run where its file lies"
        ) from error
    try:
        return getattr(module, name)
    except AttributeError:
        public = [item for item in vars(module) if not item.startswith("_")]
        near = difflib.get_close_matches(name, public, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "check the spelling"
        raise PluginError(f"expected module '{module_name}' to hold '{name}', got none; {hint}") from None
