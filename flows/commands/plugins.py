"""What `ebbdoor list KIND` says of a plug-in: what it is for, and its parameters with default, unit and range."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from rich.table import Table

#: ends of a range in JSON Schema, and how they are written
_LOWEST = {"minimum": "[", "exclusiveMinimum": "("}
_HIGHEST = {"maximum": "]", "exclusiveMaximum": ")"}


_NONE: Final[dict[str, Any]] = {"parameters": {}}


def described(kind: str, name: str) -> dict[str, Any]:
    """Return what a plug-in does and its parameters, or why it is not available here.

    An installed package's plug-in is not imported: to list what is there must run nobody's code. `threat_model` is
    there of attacks, `surface` of defenses.
    """
    from simulator.errors import PluginError
    from simulator.scenario.catalog import is_third_party, options, package_of, resolve

    if is_third_party(kind, name):
        package = package_of(kind, name)
        told = f"not imported, for it is package {package}'s; `ebbdoor check {name}` imports and tries it"
        return {**_place(kind, None, "not imported"), "options": told, "about": told, "package": package, **_NONE}
    try:
        member = resolve(kind, name)
        known = options(member)
        bounds = options(member, bounds=True)
    except PluginError as error:
        told = f"not at hand: {error}"
        return {**_place(kind, None, "not stated"), "options": told, "about": told, **_NONE}
    text = ", ".join(key if value is ... else f"{key}={value!r}" for key, (_, value) in known.items())
    parameters = {
        option: {**_typed(*known[option]), **_told(kind, name, member, option, bounds[option][0])} for option in known
    }
    return {**_place(kind, member, "not stated"), "options": text, "about": _about(member), "parameters": parameters}


def print_plugins(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a paragraph for each plug-in: its name, what it is for, and a line for each parameter."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    whole = not console.is_terminal  # then a sentence is a line
    for row in rows:
        place = row.get("threat_model") or row.get("surface")
        console.print(Text.assemble((row["name"], "bold"), f" ({place})" if place else ""), soft_wrap=True)
        for text in (row["about"], row["where"]):
            console.print(Text(f"  {text}") if whole else Padding(Text(text), (0, 0, 0, 2)), soft_wrap=whole)
        if row["parameters"]:
            console.print(Padding(_table(row["parameters"]), (0, 0, 0, 4), expand=False))
        console.print()
    sys.stdout.flush()
    typer.echo("what each parameter does: --format json", err=True)


def _table(parameters: Mapping[str, Mapping[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("parameter", "default", "values"):
        table.add_column(title, overflow="fold")
    for name, parameter in parameters.items():
        values = ", ".join(filter(None, (parameter.get("unit"), parameter.get("range"))))
        table.add_row(name, _default(parameter), values)
    return table


def _place(kind: str, member: Any, otherwise: str) -> dict[str, str]:
    """Return where an attack or a defense stands: what it may do, or what it guards."""
    word = {"attacks": "threat_model", "defenses": "surface"}.get(kind)
    if word is None:
        return {}
    if inspect.isfunction(member):  # made for one of several surfaces
        return {word: "any"}
    return {word: str(getattr(member, word, otherwise))}


def _about(member: Any) -> str:
    return (inspect.getdoc(member) or "").partition("\n\n")[0].replace("\n", " ")


def _typed(hint: Any, default: Any) -> dict[str, Any]:
    """Return an option's annotated type, and its default, if it has one, as JSON would hold it."""
    plain = (bool, int, float, str, list, tuple, dict, type(None))
    found = {"type": inspect.formatannotation(hint).replace("typing.", "")}
    return found if default is ... else {**found, "default": default if isinstance(default, plain) else repr(default)}


def _told(kind: str, name: str, member: Any, option: str, bounded: Any) -> dict[str, str]:
    """Return an option's unit, the values it may have, and what its class says of it, as far as they are known."""
    from simulator.scenario.units import unit_of

    told = {"unit": unit_of(kind, name, option), "range": range_of(bounded), "what": _said(member, option)}
    return {key: text for key, text in told.items() if text}


def range_of(hint: Any) -> str:
    """Return the values that a type allows, as words or an interval; empty where it says nothing of them.

    >>> from typing import Literal
    >>> from simulator.scenario.bounds import Count, InnerShare
    >>> range_of(Count), range_of(InnerShare | None), range_of(Literal["a", "b"]), range_of(str)
    ('at least 1', '(0, 1)', 'a, b', '')
    """
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        schema = TypeAdapter(hint).json_schema()
    except (PydanticUserError, NameError):
        return ""
    if "anyOf" in schema:
        schema = next(part for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    low = next((f"{sign}{schema[key]:g}" for key, sign in _LOWEST.items() if key in schema), "")
    high = next((f"{schema[key]:g}{sign}" for key, sign in _HIGHEST.items() if key in schema), "")
    if low and high:
        return f"{low}, {high}"
    if not low:
        return f"at most {high[:-1]}" if high else ""
    return f"{'at least' if low[0] == '[' else 'above'} {low[1:]}"


def _said(member: Any, option: str) -> str:
    """Return the first clause about an option in the texts of its class and of what that extends."""
    for owner in getattr(member, "__mro__", (member,)):
        text = " ".join((owner.__doc__ or "").partition(">>>")[0].split())
        for clause in re.split(r"(?<=[.;])\s+", text):
            if re.search(rf"`{re.escape(option)}\b", clause):
                return clause.removeprefix("Options: ").rstrip(".;")
    return ""


def _default(parameter: Mapping[str, Any]) -> str:
    if "default" not in parameter:
        return "must be given"
    value = parameter["default"]
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
