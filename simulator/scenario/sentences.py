"""Pydantic's findings as sentences a user can act on: "expected *key* to be *X*, got *Y*; do *Z*"."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

#: error type -> (what was expected, what to do); `{name}` stands for an entry of the error's context
_WORDS: dict[str, tuple[str, str]] = {
    "bool_type": ("true or false", "write one of them without quotes"),
    "dict_type": ("a mapping", "write its keys indented below it"),
    "finite_number": ("a finite number", "write one"),
    "float_type": ("a number", "write one without quotes"),
    "greater_than": ("above {gt}", "raise it"),
    "greater_than_equal": ("at least {ge}", "raise it"),
    "int_parsing": ("a whole number", "write one"),
    "int_type": ("a whole number", "write one without quotes or a decimal point"),
    "less_than": ("below {lt}", "lower it"),
    "less_than_equal": ("at most {le}", "lower it"),
    "list_type": ("a list", "write it in square brackets"),
    "literal_error": ("{expected}", "choose one of them"),
    "model_type": ("a mapping", "write its keys indented below it"),
    "none_required": ("null", "leave it out"),
    "string_type": ("text", "put it in quotes"),
    "too_short": ("at least {min_length} long", "add one"),
    "tuple_type": ("a list", "write it in square brackets"),
}
_NAME = "lower-case letters, digits and dashes, {} at most and no dash first"
#: pattern of the model -> (what was expected, what to do)
_PATTERNS: dict[str, tuple[str, str]] = {
    r"^[a-z0-9][a-z0-9-]{0,59}$": (_NAME.format(60), "rename it"),
    r"^[a-z0-9][a-z0-9-]{0,39}$": (_NAME.format(40), "rename it"),
    r"^(auto|cpu|cuda(:[0-9]+)?)$": ("auto, cpu, cuda or cuda:N", "choose one of them"),
}


def sentences(error: ValidationError, given: Any, model: type[BaseModel] | None = None) -> list[str]:
    """Return one sentence per key of `given` that `error` complains of, in the order found.

    `model` tells which keys its sections know, for the sentence on an unknown one.
    """
    by_key: dict[tuple[str, bool], list[ErrorDetails]] = {}
    for detail in _without_echoes(error.errors(include_url=False)):
        by_key.setdefault((_key(detail, given), _is_key(detail)), []).append(detail)
    return [_sentence(key, details, model) for (key, _), details in by_key.items()]


def _without_echoes(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out that a list is too short where a value in it is wrong: pydantic does not count that value."""
    places = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if detail["type"] != "too_short" or not any(_is_inside(place, detail["loc"]) for place in places)
    ]


def _is_inside(place: tuple[int | str, ...], whole: tuple[int | str, ...]) -> bool:
    return len(place) > len(whole) and place[: len(whole)] == whole


def _is_key(detail: ErrorDetails) -> bool:
    """Whether an error is about a mapping's key; one about the whole has no place at all."""
    return detail["loc"][-1:] == ("[key]",)


def near(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return "did you mean ...?" for the nearest known word, or `otherwise` when none is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean '{found[0]}'?" if found else otherwise


def shown(value: Any) -> str:
    """Return `value` as a scenario would hold it, cut to a line's length."""
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."


def _key(detail: ErrorDetails, given: Any) -> str:
    """Return the dotted key of an error, without the names that pydantic adds for the branches of a union."""
    parts: list[str] = []
    node = given
    for part in detail["loc"]:
        inside = {str(key): value for key, value in node.items()} if isinstance(node, Mapping) else _numbered(node)
        if str(part) not in inside:
            missing = detail["type"] == "missing"
            return ".".join([*parts, str(detail["loc"][-1])] if missing else parts)
        node = inside[str(part)]
        parts.append(str(part))
    return ".".join(parts)


def _numbered(node: Any) -> dict[str, Any]:
    return {str(place): item for place, item in enumerate(node)} if isinstance(node, list | tuple) else {}


def _sentence(key: str, details: list[ErrorDetails], model: type[BaseModel] | None) -> str:
    first = details[0]
    if first["type"] == "extra_forbidden":
        return _unknown_key(first, model)
    if first["type"] == "missing":
        return f"expected {key} to be given, got nothing; add it"
    if first["type"] == "value_error":  # a whole sentence of the model's own
        return f"{key}: {first['ctx']['error']}" if key else str(first["ctx"]["error"])
    words = [_words(detail) for detail in details]
    if _is_key(first):
        key = f"a name in {key.rpartition('.')[0]}"
    expected = " or ".join(dict.fromkeys(text for text, _ in words))
    return f"expected {key or 'it'} to be {expected}, got {shown(first['input'])}; {words[-1][1]}"


def _words(detail: ErrorDetails) -> tuple[str, str]:
    context = detail.get("ctx", {})
    if detail["type"] == "string_pattern_mismatch" and context["pattern"] in _PATTERNS:
        return _PATTERNS[context["pattern"]]
    if detail["type"] == "model_type" and context["class_name"].endswith("Use"):
        return "a plug-in with its options", "write {use: NAME}"
    expected, advice = _WORDS.get(detail["type"], (f"valid ({detail['msg']})", "correct it"))
    return expected.format(**context), advice


def _unknown_key(detail: ErrorDetails, model: type[BaseModel] | None) -> str:
    *above, word = (str(part) for part in detail["loc"])
    known = _known_keys(model, above)
    owner = ".".join(above) or f"the {model.__name__.lower() if model else 'scenario'}"
    hint = near(word, known, f"it knows {', '.join(known)}")
    who = above[-1] if above and not above[-1].isdecimal() else owner
    return f"{owner}: expected a key {who} knows, got {shown(word)}; {hint}"


def _known_keys(model: type[BaseModel] | None, above: Iterable[str]) -> list[str]:
    for key in above:
        fields = {field.alias or name: field for name, field in model.model_fields.items()} if model else {}
        if key.isdecimal():  # an index in a list, whose items are of the model found already
            continue
        kinds = _kinds(fields[key].annotation)
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _kinds(annotation: Any) -> list[Any]:
    """Return every type that `annotation` is made of."""
    return [annotation, *(inner for part in get_args(annotation) for inner in _kinds(part))]
