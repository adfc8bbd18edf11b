"""How values lie over values: sections merge key by key; plug-ins, lists and the set of arms are replaced whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.errors import ScenarioError

__all__ = ["lay_over", "place"]


def lay_over(below: Any, above: Any) -> Any:
    """Return `above` laid over `below`: where both are sections (mappings without `use`) key by key, else `above`."""
    if not (_is_section(below) and _is_section(above)):
        return above
    return {**below, **{key: lay_over(below.get(key), value) for key, value in above.items()}}


def place(tree: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
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
    placed: dict[str, Any] = _placed(tree, parts, value, ())
    return placed


def _is_section(value: Any) -> bool:
    return isinstance(value, Mapping) and "use" not in value


def _placed(node: Any, parts: Sequence[str], value: Any, above: tuple[str, ...]) -> Any:
    if not parts:
        return lay_over(node, value)
    head, rest = parts[0], parts[1:]
    if isinstance(node, Mapping):
        return {**node, head: _placed(node.get(head), rest, value, (*above, head))}
    if isinstance(node, list):
        index = _index(head, node, above)
        old = node[index] if index < len(node) else None
        return [*node[:index], _placed(old, rest, value, (*above, head)), *node[index + 1 :]]
    if node is None:
        return {head: _placed(None, rest, value, (*above, head))}
    raise ScenarioError(f"expected {'.'.join(above)} to hold keys, got {node!r}; set {'.'.join(above)} itself")


def _index(text: str, items: list[Any], above: tuple[str, ...]) -> int:
    if text.isascii() and text.isdigit() and int(text) <= len(items):
        return int(text)
    name = ".".join(above)
    raise ScenarioError(
        f"expected {name} to be followed by a place in its list, at most {len(items)}, got '{text}'; "
        f"{name}.{len(items)} appends an item"
    )
