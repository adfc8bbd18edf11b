"""Find a plug-in's kind and run what that kind is held to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, get_type_hints

from simulator.checks import general
from simulator.checks.subject import CheckResult, Failed, Inapplicable, Subject
from simulator.errors import PluginError
from simulator.guard.place import told
from simulator.guard.settings import put_back, read_settings
from simulator.scenario import catalog


def check(kind: str, use: str, given: Mapping[str, Any] | None = None) -> list[CheckResult]:
    """Run the conformance checks of `kind` on the plug-in `use`, built with the options `given`.

    A class declares what it may skip as `skips = {"check-name": "reason"}`; such a check passes and its message says
    so. Raises `PluginError` when the plug-in cannot be found.
    """
    subject = _subject(kind, use, given)
    skips: Mapping[str, str] = getattr(subject.member, "skips", {})
    of_all = _checks_in(general)
    of_kind = _checks_in(import_module(f"simulator.checks.{kind}"))  # brings its kind's own machinery
    results = [_run(one, subject, skips) for one in (of_all + of_kind if _builds(subject) else of_all)]
    known = {_name(one) for one in of_all + of_kind}
    unknown = [name for name in skips if name not in known]
    if unknown:
        sentence = f"expected skips to name checks, got {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        results.append(CheckResult("skips-are-known", False, sentence))
    return results


def measure(kind: str, use: str, given: Mapping[str, Any] | None = None) -> list[str]:
    """Return what a defense does on one small example, in sentences; none of another kind, or where it is not built."""
    subject = _subject(kind, use, given)
    if kind != "defenses" or not _builds(subject):
        return []
    from simulator.checks.measured import measured  # which trains the example

    settings = read_settings()
    try:
        return measured(subject)
    finally:
        put_back(settings)


def _subject(kind: str, use: str, given: Mapping[str, Any] | None) -> Subject:
    member = catalog.resolve(kind, use)
    return Subject(kind, use, member, {**getattr(member, "example", {}), **(given or {})})


def kind_of(use: str) -> str:
    """Return the kind of the plug-in `use`: by the class it extends, by what a function returns, or by its short name.

    Raises `PluginError` when it is of no kind, or when its short name belongs to several.
    """
    if ":" not in use:
        return _kind_of_name(use)
    member = catalog.locate(use)
    made = member if inspect.isclass(member) else get_type_hints(member).get("return")
    bases = {f"{base.__module__}:{base.__qualname__}" for base in getattr(made, "__mro__", ())}
    found = [kind for kind, base in catalog.BASES.items() if base in bases]
    if found:
        return found[0]
    if not inspect.isclass(member) and (made is None or "torch.nn.modules.module:Module" in bases):
        return "networks"  # only networks are functions, and what they return need not be annotated
    kinds = ", ".join(catalog.BASES.values())
    raise PluginError(
        f"expected '{use}' to extend a plug-in's base, or to be a function that returns a network, got neither; "
        f"bases: {kinds}"
    )


def _kind_of_name(use: str) -> str:
    found = [kind for kind in catalog.KINDS if use in catalog.names(kind)]
    if not found:
        raise PluginError(f"expected a plug-in's name or module:Name, got '{use}'; `ebbdoor list` shows them all")
    if len(found) > 1:
        paths = ", ".join(catalog.names(kind)[use] for kind in found)
        raise PluginError(f"expected one plug-in to be named '{use}', got {len(found)}; give one of {paths}")
    return found[0]


def _builds(subject: Subject) -> bool:
    """Whether there is anything to check beyond why it cannot be built."""
    if subject.kind == "networks":
        return True
    try:
        subject.make()
    except PluginError:
        return False
    return True


def _checks_in(module: ModuleType) -> list[Callable[[Subject], None]]:
    """Return the public functions that `module` defines, in its order: each is a check."""
    functions = [one for one in vars(module).values() if inspect.isfunction(one) and one.__module__ == module.__name__]
    return [one for one in functions if not one.__name__.startswith("_")]


def _run(one: Callable[[Subject], None], subject: Subject, skips: Mapping[str, str]) -> CheckResult:
    name = _name(one)
    if name in skips:
        return CheckResult(name, True, f"skipped: {skips[name]}", tried=False)
    settings = read_settings()
    try:
        one(subject)
    except Failed as error:
        return CheckResult(name, False, str(error))
    except Inapplicable as reason:
        return CheckResult(name, True, f"does not apply: {reason}", tried=False)
    except (Exception, SystemExit) as error:  # noqa: BLE001  third-party code may raise anything; others shall run
        return CheckResult(name, False, f"expected the check to run through, got {told(error)}")
    finally:
        put_back(settings)  # one check's finding must not hide another's
    return CheckResult(name, True, inspect.getdoc(one) or "")


def _name(one: Callable[[Subject], None]) -> str:
    return one.__name__.replace("_", "-")
