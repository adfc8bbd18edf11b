"""From a name to a plug-in: an entry-point name (`ebbdoor.<kind>`) or `module:Name`, with suggestions for near misses.

Listing imports nothing. A plug-in's constructor signature is its schema: options are checked here against it.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from simulator.errors import EbbdoorError, PluginError, text_of
from simulator.guard.own_files import file_of, is_users_file
from simulator.guard.place import told
from simulator.scenario.bounds import option_types, options_model, unusable_number
from simulator.scenario.code import take
from simulator.scenario.sentences import near, sentences

if TYPE_CHECKING:
    from simulator.guard.call import Plugin

#: kind -> what one member is called in a sentence
KINDS: dict[str, str] = {
    "sources": "source",
    "drifts": "drift",
    "attacks": "attack",
    "campaigns": "campaign",
    "monitors": "monitor",
    "policies": "policy",
    "networks": "network",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "defenses": "defense",
    "gates": "gate",
    "probes": "probe",
}

#: kind -> the class that its members extend, imported only when one is built. A network is a function and has none.
BASES: dict[str, str] = {
    "sources": "simulator.world.sources.base:Source",
    "drifts": "simulator.world.drift:Drift",
    "attacks": "simulator.world.attacks.base:Attack",
    "campaigns": "simulator.world.campaign:Campaign",
    "monitors": "simulator.production.monitors.base:Monitor",
    "policies": "simulator.production.policy:Policy",
    "optimizers": "simulator.production.training.optimizers:OptimizerFactory",
    "schedules": "simulator.production.training.schedules:Schedule",
    "defenses": "defenses.base:Defense",
    "gates": "simulator.production.gate:Gate",
    "probes": "simulator.observer.probes.base:Probe",
}


#: the packages of ebbdoor
_OURS = ("defenses", "flows", "simulator")


#: before the name of a network of torchvision's, where a plug-in has that name
TORCHVISION = "torchvision-"


@cache
def _installed() -> Any:  # `EntryPoints`; before Python 3.12 `SelectableGroups`, which selects alike
    """All entry points of all packages: read once, for each reading opens every package's files."""
    return entry_points()


@cache
def _points(kind: str) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in _installed().select(group=f"ebbdoor.{kind}"):
        other = found.get(point.name)
        if other is not None and other.value != point.value:
            raise PluginError(
                f"expected one {KINDS[kind]} to be named '{point.name}', got two: {_origin(other)} and "
                f"{_origin(point)}; uninstall one"
            )
        found[point.name] = point
    return dict(sorted(found.items()))


def _origin(point: EntryPoint) -> str:
    return f"{point.value} of package {point.dist.name}" if point.dist else point.value


def names(kind: str) -> dict[str, str]:
    """Return the short names of a kind and where each points (`module:Name`), without importing anything."""
    return {name: point.value for name, point in _points(_known(kind)).items()}


def point(kind: str, name: str) -> EntryPoint | None:
    """Return the entry point that the short name `name` stands for, with its distribution; None for no such name."""
    return _points(_known(kind)).get(name)


def resolve(kind: str, use: str, *, also: tuple[str, ...] = ()) -> Any:
    """Return the class or function that `use` names. `also` are further names to suggest from."""
    noun = KINDS[_known(kind)]
    if ":" in use:
        _require_foreign(use, noun)
        return locate(use, noun)
    point = _points(kind).get(use)
    if point is None:
        found = difflib.get_close_matches(use, [*_points(kind), *also], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, found))}?" if found else f"`ebbdoor list {kind}` shows them all"
        raise PluginError(f"expected a known {noun}, or module:Name, got '{use}'; {hint}")
    return locate(point.value, noun)


def _require_foreign(use: str, noun: str) -> None:
    """Refuse what is Python's own, before it is called: `sys:exit` is no network."""
    module = use.partition(":")[0].partition(".")[0]
    if module in sys.stdlib_module_names:
        raise PluginError(
            f"expected {noun} '{use}' to be a plug-in, got a module of Python itself, '{module}'; "
            "name your own, and rename its file if it is called so"
        )


def torchvision_names(use: str) -> tuple[str, ...]:
    """Return the names that torchvision gives networks; none where `use` is a plug-in, to spare its slow import.

    Where a plug-in of ours has the same name, torchvision's is `torchvision-NAME`.
    """
    if ":" in use or use in names("networks"):
        return ()
    import torchvision

    found = tuple(torchvision.models.list_models(module=torchvision.models))
    return found + tuple(f"{TORCHVISION}{name}" for name in found if name in names("networks"))


def locate(path: str, noun: str = "plug-in") -> Any:
    """Return what `path`, a `module:Name`, names; a user's own file in the working directory is a module too."""
    module_name, _, name = path.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *name.split("."))):
        raise PluginError(f"expected {noun} '{path}' to be module:Name, got other text; write e.g. my_file:MyClass")
    found: Any = _module(noun, path, module_name)
    for part in name.split("."):
        if not hasattr(found, part):
            public = [item for item in vars(found) if not item.startswith("_")]
            hint = near(part, public, "check the spelling")
            raise PluginError(f"expected module '{module_name}' to hold '{name}', got none; {hint}")
        found = getattr(found, part)
    return found


def is_third_party(kind: str, use: str) -> bool:
    """Whether the plug-in `use` is somebody else's code: all that is not known to ship with ebbdoor or torchvision.

    The one answer to this question: the guard, the digests of code, and whether a defense may be imported in this
    process go by it. A name that stands for nothing is nobody's code.
    """
    if ":" in use:
        return not _ships(use.partition(":")[0])
    found = point(kind, use)
    return found is not None and (found.dist is None or found.dist.name != "ebbdoor")


def package_of(kind: str, name: str) -> str:
    """Return the installed package that gives the short name `name`; empty where none is known."""
    found = point(kind, name)
    return "" if found is None or found.dist is None else found.dist.name


@cache
def plugin(kind: str, use: str) -> Plugin:
    """Return how the guard and its sentences know the plug-in `use`."""
    from simulator.guard.call import Plugin

    return Plugin(f"{KINDS[_known(kind)]} '{use}'", is_third_party(kind, use))


def options(member: Callable[..., Any], *, bounds: bool = False) -> dict[str, tuple[Any, Any]]:
    """Return a plug-in's options: name -> (type, default), read from its signature's keyword-only parameters.

    The default is `...` for an option that must be given. With `bounds`, types keep what `Annotated` says about them.
    Raises `PluginError` when there is no signature to read.
    """
    try:
        hints = option_types(member, bounds=bounds)
        parameters = inspect.signature(member).parameters.values()
    except (NameError, TypeError, ValueError) as error:
        name = getattr(member, "__qualname__", repr(member))
        raise PluginError(
            f"expected {name} to be a class or function whose annotations can be read, got {error}; "
            "import at run time what its constructor is annotated with"
        ) from error
    return {
        p.name: (hints.get(p.name, Any), ... if p.default is inspect.Parameter.empty else p.default)
        for p in parameters
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }


def build(kind: str, use: str, given: Mapping[str, Any] | None = None) -> Any:
    """Construct the plug-in `use` with the options `given`, or raise `PluginError` naming what is wrong."""
    member = resolve(kind, use)
    owner = f"{KINDS[kind]} '{use}'"
    if not callable(member):
        raise PluginError(f"expected {owner} to be a class, got {type(member).__name__}; name the class itself")
    checked = check_options(owner, member, given or {})
    known = plugin(kind, use)
    try:
        with _contained(known) if known.foreign else nullcontext():
            built = member(**checked)
    except ValueError as error:
        raise PluginError(f"{owner}: {text_of(error)}") from error
    except EbbdoorError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{owner}: expected its constructor to work, got {told(error)}; correct it") from error
    _check_base(kind, owner, built)
    return built


def check_options(owner: str, member: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` checked and converted against the signature of `member`; only options given are returned.

    Strict: no text for a number and no number for a switch; lists are taken for tuples, as YAML has no others.
    """
    known = options(member, bounds=True)
    unknown = [name for name in given if name not in known]
    if unknown:
        hint = near(unknown[0], known, f"it takes {', '.join(known) or 'no options'}")
        raise PluginError(f"{owner}: expected an option it knows, got '{unknown[0]}'; {hint}")
    unusable = next(filter(None, (unusable_number(value, name) for name, value in given.items())), None)
    if unusable is not None:
        raise PluginError(f"{owner}: {unusable}")
    try:
        value = _validated(options_model(known), given)
    except ValidationError as error:
        raise PluginError("\n".join(f"{owner}: {line}" for line in sentences(error, given))) from error
    return {name: getattr(value, f"option_{name}") for name in given}


def _validated(schema: type[BaseModel], given: Mapping[str, Any]) -> BaseModel:
    try:
        text = json.dumps(given)
    except (TypeError, ValueError):  # options handed over in Python, which JSON cannot hold
        return schema.model_validate(given)
    return schema.model_validate_json(text, strict=True)


def _check_base(kind: str, owner: str, built: Any) -> None:
    if kind not in BASES:
        return
    base = locate(BASES[kind])
    if not isinstance(built, base):
        raise PluginError(
            f"expected {owner} to extend {base.__module__}.{base.__name__}, got {type(built).__name__}; "
            f"name a {KINDS[kind]}"
        )


def _known(kind: str) -> str:
    if kind not in KINDS:
        hint = near(kind, KINDS, f"kinds are {', '.join(KINDS)}")
        raise PluginError(f"expected a kind of plug-in, got '{kind}'; {hint}")
    return kind


def _module(noun: str, path: str, module_name: str) -> Any:
    find_beside(module_name)
    foreign = not _ships(module_name) and module_name not in sys.modules
    try:
        with _importing(f"{noun} '{path}'") if foreign else nullcontext():
            module = importlib.import_module(module_name)
        take(module_name)  # now, before its files can be edited
        return module
    except EbbdoorError:
        raise
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ImportError)
        advice = "install its package, or run where its file lies" if missing else "correct it"
        raise PluginError(f"expected {noun} '{path}' to be importable, got {told(error)}; {advice}") from error


# The guard loads torch, which names and help do without.
def _contained(known: Plugin) -> AbstractContextManager[None]:
    from simulator.guard.call import contained

    return contained(known)


def _importing(owner: str) -> AbstractContextManager[None]:
    from simulator.guard.call import Plugin, contained

    return contained(Plugin(owner, foreign=True), imports=True)


def _ships(module: str) -> bool:
    """Whether a module is ebbdoor's or torchvision's; a user's own folder may be called `defenses` too."""
    if module.partition(".")[0] not in ("simulator", "defenses", "torchvision"):
        return False
    file = file_of(module)
    return file is not None and not is_users_file(file)


def find_beside(module_name: str) -> None:
    """Let a user's own file beside the scenario be found: after all that is installed, and after our own packages.

    A user's folder may be called `defenses`: what is in it is found too, and hides nothing of ours.
    """
    folder, package = Path.cwd(), module_name.partition(".")[0]
    if package in _OURS:
        parts = importlib.import_module(package).__path__  # before the folder is on the path: ours, not the user's
        beside = str(folder / package)
        if beside not in parts and Path(beside).is_dir():
            parts.append(beside)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
