"""What holds for every kind."""

from __future__ import annotations

import inspect
from typing import Any

from simulator.checks.subject import Inapplicable, Subject, expect, quiet, same
from simulator.scenario import catalog

#: what the platform tells a network, beside its own options
_FACTS = {"channels", "size", "classes"}


def documented(subject: Subject) -> None:
    """The class or function says what it does."""
    text = (subject.member.__doc__ or "").strip()
    made_up = text.startswith(f"{subject.member.__name__}(")  # what a dataclass says where there is none
    expect(bool(text) and not made_up, "expected a docstring of its own, got none; say what it does")


def options_are_the_schema(subject: Subject) -> None:
    """Every option is keyword-only, annotated and has a default (or a value in the class's `example`)."""
    known = catalog.options(subject.member)
    for name, parameter in inspect.signature(subject.member).parameters.items():
        if subject.kind == "networks" and name in _FACTS:
            continue
        keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        expect(keyword, f"expected option '{name}' to be keyword-only, got it otherwise; put it after *")
        annotated = parameter.annotation is not inspect.Parameter.empty
        expect(annotated, f"expected option '{name}' to be annotated, got no type; add it")
        stated = known[name][1] is not ... or name in subject.given
        expect(stated, f"expected option '{name}' to have a default, got none; give one, or add it to `example`")


def options_are_kept(subject: Subject) -> None:
    """Every option is an attribute of its own name (or `_name` where a method has that name)."""
    if not inspect.isclass(subject.member):
        raise Inapplicable("a function may keep them where it likes")
    built = subject.make()
    for name, (_, default) in catalog.options(subject.member).items():
        kept = f"_{name}" if callable(getattr(subject.member, name, None)) else name
        expect(hasattr(built, kept), f"expected option '{name}' to be kept as {kept}, got no such attribute; assign it")
        value = getattr(built, kept)
        plain = isinstance(default, bool | int | float | str) and name not in subject.given
        expect(
            not plain or value == default,
            f"expected {kept} to be {default!r} as given, got {value!r}; keep it as it is",
        )


def builds_without_traces(subject: Subject) -> None:
    """Building one twice gives two that are alike, and changes no global state."""
    if subject.kind == "networks":
        raise Inapplicable("a network is built when the images are known, and has checks of its own for that")
    first, second = quiet(subject.make_bare), quiet(subject.make_bare)
    if hasattr(first, "__dict__"):
        expect(_plain(first) == _plain(second), "expected two alike, got different attributes; draw nothing in it")


def _plain(built: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(built).items() if same(value, value) and not hasattr(value, "__dict__")}
