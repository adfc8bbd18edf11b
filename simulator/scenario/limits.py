"""Limits of what a user writes, checked before anything is built: a few bytes must not take minutes or gigabytes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

from simulator.errors import ScenarioError

#: characters of one text, levels of nesting, and values once every alias is written out
_CHARACTERS, _LEVELS, _VALUES = 250_000, 40, 50_000
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def read_bounded(path: Path) -> bytes:
    """Return what a text file holds; `ScenarioError` when it is too long to be written by a person, or endless.

    A pipe into which nobody writes counts as empty, for waiting on it could take for ever.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        data = file.read(4 * _CHARACTERS + 1)
    if len(data) > 4 * _CHARACTERS:
        raise ScenarioError(f"expected '{path}' to hold at most {4 * _CHARACTERS} bytes, got more; give a text file")
    return data


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe at once, also before anybody writes into it. Reading then waits for those who do."""
    opened = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    os.set_blocking(opened, True)
    return opened


def require_bounded(text: str) -> None:
    """Raise `ScenarioError` for YAML that is too long, too deep, or too large with its aliases written out.

    Raises `yaml.YAMLError` where it is no YAML.
    """
    if len(text) > _CHARACTERS:
        raise ScenarioError(f"expected at most {_CHARACTERS} characters, got {len(text)}; shorten it")
    sizes: dict[str, int] = {}  # values below each anchor
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and the values before it
    values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            # an alias inside its own anchor counts as one value here: the loader's caller refuses it
            values += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            sizes |= {} if event.anchor is None else {event.anchor: 1}
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, values))
            values += 1
            if len(open_nodes) > _LEVELS:
                raise ScenarioError(f"expected at most {_LEVELS} levels of nesting, got more; flatten it")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes |= {} if anchor is None else {anchor: values - before}
        if values > _VALUES:
            raise ScenarioError(
                f"expected at most {_VALUES} values, aliases written out, got more; write fewer, or fewer aliases"
            )


def require_text(text: str, where: str) -> None:
    """Raise `ScenarioError` for text that no file name can hold, or that begins with a home folder of nobody."""
    if "\0" in text or _HALF_CHARACTER.search(text):
        got = "the character NUL" if "\0" in text else "half of a surrogate pair"
        raise ScenarioError(f"{where}: expected text of whole characters without NUL, got {got}; remove it")
    if text.startswith("~") and "/" in text and os.path.expanduser(text) == text:
        raise ScenarioError(
            f"{where}: expected '{text.partition('/')[0]}' to be a user's home folder, got no such user; write the path"
        )


def require_shallow(key: str) -> None:
    """Raise `ScenarioError` for a dotted key of more parts than anything that it could name."""
    parts = key.count(".") + 1
    if parts > _LEVELS:
        raise ScenarioError(f"expected a dotted key of at most {_LEVELS} parts, got {parts}; shorten it")
