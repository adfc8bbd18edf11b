"""The table of what a run was played with, as texts: lists and mappings as people write them, empty ones left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

#: what the page shows elsewhere
_ELSEWHERE: Final = ("code_changed", "instruction_sets")
#: what is told of the data at the head of the page
_TOLD: Final = ("lines", "warnings")


def environment_rows(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return name and text of each fact in `about`, in order.

    >>> environment_rows({"run": "a", "data": {"warnings": [], "train_rows": [5, 6], "mean": 0.5, "names": {}}})
    [('run', 'a'), ('train rows', '5, 6'), ('mean', '0.5')]
    """
    found = [row for name, value in about.items() if name not in _ELSEWHERE for row in _rows(name, value)]
    return [(name.replace("_", " "), text) for name, text in found if text]


def _rows(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        yield from ((inner, _text(one)) for inner, one in value.items() if inner not in _TOLD)
    else:
        yield name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {text}" for name, one in value.items() if (text := _text(one)))
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
