"""Options that name classes (an attack's target, a favoured class): by the user's labels or names, not by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simulator.errors import PluginError
from simulator.scenario.model import Use
from simulator.scenario.sentences import near, shown
from simulator.world.sources.classes import numbers_of

#: options of attacks and drifts that hold a class or a list of them
OPTIONS = ("target", "sources", "covers", "favoured")

Given = Any


def with_positions(owner: str, use: Use, names: Sequence[str] | None) -> Use:
    """Return `use` with the position of every class that its options name, from 0.

    A class is given as the data label it: by its number, or by its name in text. `names` are the classes' names in
    order; where these are words, a number is a position already. None: not known yet, so that a name stands for some
    position. Raises `PluginError` for a class that there is not.
    """
    given = {key: use.options[key] for key in OPTIONS if key in use.options}
    if names is not None and not any(_is_named(value, names) for value in given.values()):
        return use
    changed = {key: _positions(f"{owner}: expected {key}", value, names) for key, value in given.items()}
    return use.model_copy(update=changed)


def _is_named(value: Given, names: Sequence[str]) -> bool:
    """Whether a value must be looked up: text, or a number where the classes have numbers that are not positions."""
    if isinstance(value, list | tuple):
        return any(_is_named(item, names) for item in value)
    return isinstance(value, str) or numbers_of(names) is not None


def _positions(start: str, value: Given, names: Sequence[str] | None) -> Given:
    if isinstance(value, list | tuple):
        return [_positions(start, item, names) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | str):
        return value  # the plug-in's own check says what is wrong with it
    if names is None:
        return 0 if isinstance(value, str) else value
    if str(value) in names:
        return names.index(str(value))
    if isinstance(value, int) and numbers_of(names) is None:
        return value
    few = names if len(names) <= 20 else [*names[:20], "..."]
    hint = near(str(value), names, "choose one of them")
    raise PluginError(f"{start} to be a class of the source ({', '.join(few)}), got {shown(value)}; {hint}")
