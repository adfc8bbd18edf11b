"""What is known of a defense before it is called: its surface, its options with their defaults, what a call costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import to_jsonable_python

from defenses.base import Defense, Size, Surface
from simulator.errors import PluginError
from simulator.guard.place import told
from simulator.production.defending.job import build
from simulator.records import Value
from simulator.scenario import catalog


class DefenseFacts(Value):
    """Facts of a defense as JSON values. `defaults` are those of its options; `passes`: see `Defense.passes`."""

    surface: Surface
    needs_trusted: bool
    defaults: dict[str, Any]
    tells_passes: bool = False
    passes: int | None = None


def facts_of(use: str, options: Mapping[str, Any], size: Size | None = None) -> DefenseFacts:
    """Import and construct the defense in this process, or raise `PluginError`; `size` is that of a context."""
    defense = build(use, options)
    known = catalog.options(catalog.resolve("defenses", use))
    defaults = {name: default for name, (_, default) in known.items() if default is not ...}
    return DefenseFacts(
        surface=defense.surface,
        needs_trusted=bool(defense.needs_trusted),
        defaults=to_jsonable_python(defaults),
        tells_passes=type(defense).passes is not Defense.passes,
        passes=None if size is None else passes_of(defense, use, size),
    )


def passes_of(defense: Defense, use: str, size: Size) -> int | None:
    """Return how many passes a call is said to take, or raise `PluginError`."""
    try:
        passes = defense.passes(size)
    except (Exception, SystemExit) as error:
        raise PluginError(f"defense '{use}': expected passes to work, got {told(error)}; correct it") from error
    if passes is None or (isinstance(passes, int) and passes >= 0):
        return passes
    raise PluginError(f"defense '{use}': expected passes to be None or a whole number, got {passes!r}")


def module_of(use: str) -> str:
    """Return the module that the defense's name stands for; the name itself where there is none."""
    point = None if ":" in use else catalog.point("defenses", use)
    return (use if point is None else point.value).partition(":")[0]


def modules_of_ours(uses: Iterable[str]) -> list[str]:
    """Return the modules of those defenses that ship with ebbdoor."""
    return sorted({module_of(use) for use in uses if not catalog.is_third_party("defenses", use)})
