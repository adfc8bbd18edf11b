"""Pydantic's findings as sentences a user can act on: "expected *key* to be *X*, got *Y*; do *Z*"."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

__all__ = ["near", "sentences", "shown"]

#: error type -> (what was expected, what to do); `{name}` stands for an entry of the error's context
_WORDS: dict[str, tuple[str, str]] = {
    "bool_type": ("true or false", "write one of them without quotes"),
    "dict_type": ("a mapping", "write its keys indented below it"),
    "finite_number": ("a finite number", "write one"),
    "float_type": ("a number", "write one without quotes"),
    "greater_than": ("above {gt}", "raise it"),
    "greater_than_equal": ("at least {ge}", "raise it"),
    "int_type": ("a whole number", "write one without quotes or a decimal point"),
    "less_than": ("below {lt}", "lower it"),
    "less_than_equal": ("at most {le}", "lower it"),
    "literal_error": ("{expected}", "choose one of them"),
    "model_type": ("a mapping", "write its keys indented below it"),
    "string_type": ("text", "put it in quotes"),
    "too_short": ("at least {min_length} long", "add one"),
    "tuple_type": ("a list", "write it in square brackets"),
}
_NAME = "lower-case letters, digits and dashes, {} at most and no dash first"
#: pattern of the model -> its words
_PATTERNS: dict[str, tuple[str, str]] = {
    r"^[a-z0-9][a-z0-9-]{0,59}$": (_NAME.format(60), "rename it"),
    r"^[a-z0-9][a-z0-9-]{0,39}$": (_NAME.format(40), "rename it"),
    r"^(auto|cpu|cuda(:[0-9]+)?)$": ("auto, cpu, cuda or cuda:N", "choose one of them"),
}


def sentences(error: ValidationError, model: type[BaseModel], whole: str = "the scenario") -> list[str]:
    """Return one sentence per place that `error` complains of, in the order of the model's keys."""
    by_place: dict[str, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_place.setdefault(_place(detail["loc"], model), []).append(detail)
    return [_sentence(place, details, model, whole) for place, details in by_place.items()]


def near(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return "did you mean ...?" for the nearest known word, or `otherwise` when none is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean '{found[0]}'?" if found else otherwise


def shown(value: Any) -> str:
    """Return `value` as the scenario would hold it, cut to a line's length."""
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _sentence(place: str, details: list[ErrorDetails], model: type[BaseModel], whole: str) -> str:
    kind = details[0]["type"]
    if kind == "extra_forbidden":
        return _unknown_key(details[0], model, whole)
    if kind == "missing":
        return f"expected {place} to be given, got nothing; add it"
    expected, advice = _join(details)
    if details[0]["loc"][-1] == "[key]":
        place = f"a name in {place.rpartition('.')[0]}"
    if kind == "model_type" and details[0].get("ctx", {}).get("class_name", "").endswith("Use"):
        expected, advice = "a plug-in with its options", "write {use: NAME}"
    return f"expected {place or whole} to be {expected}, got {shown(details[0]['input'])}; {advice}"


def _join(details: list[ErrorDetails]) -> tuple[str, str]:
    words = [_words(detail) for detail in details]
    return " or ".join(expected for expected, _ in words), words[-1][1]


def _words(detail: ErrorDetails) -> tuple[str, str]:
    if detail["type"] == "string_pattern_mismatch":
        return _PATTERNS[detail["ctx"]["pattern"]]
    expected, advice = _WORDS.get(detail["type"], (f"valid ({detail['msg']})", "correct it"))
    return expected.format(**detail.get("ctx", {})), advice


def _unknown_key(detail: ErrorDetails, model: type[BaseModel], whole: str) -> str:
    *above, word = (str(part) for part in detail["loc"])
    section = _section(model, above)
    known = [field.alias or name for name, field in section.model_fields.items()] if section else []
    owner = ".".join(above) or whole
    hint = near(word, known, f"it knows {', '.join(known)}")
    return f"{owner}: expected a key {above[-1] if above else whole} knows, got '{word}'; {hint}"


def _place(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Return the dotted key of an error: without the names pydantic adds for the branches of a union."""
    parts: list[str] = []
    for part in location:
        if part == "[key]":
            continue
        if parts and _is_union_branch(model, parts):
            break
        parts.append(str(part))
    return ".".join(parts)


def _is_union_branch(model: type[BaseModel], parts: list[str]) -> bool:
    section = _section(model, parts[:-1])
    field = _field(section, parts[-1]) if section else None
    return field is not None and not _holds(field, lambda kind: kind in (dict, tuple) or _is_model(kind))


def _section(model: type[BaseModel], above: list[str]) -> type[BaseModel] | None:
    """Return the model of the section at the keys `above`, or None where a plug-in's options or an arm begin."""
    found: type[BaseModel] | None = model
    for key in above:
        if found is None:
            return None
        if key.isdigit():
            continue
        annotation = _field(found, key)
        found = next((kind for kind in _kinds(annotation) if _is_model(kind)), None)
    return found


def _field(model: type[BaseModel], key: str) -> Any:
    by_key: Mapping[str, Any] = {field.alias or name: field for name, field in model.model_fields.items()}
    return by_key[key].annotation if key in by_key else None


def _kinds(annotation: Any) -> list[Any]:
    """Return every type that `annotation` is made of."""
    return [annotation, *(inner for part in get_args(annotation) for inner in _kinds(part))]


def _holds(annotation: Any, test: Callable[[Any], bool]) -> bool:
    return any(test(getattr(kind, "__origin__", kind)) for kind in _kinds(annotation))


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
