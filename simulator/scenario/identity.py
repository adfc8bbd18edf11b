"""What, beside ebbdoor itself, decides the numbers of a scenario: third-party code and the files that it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from simulator.records import digest_of
from simulator.scenario import catalog
from simulator.scenario.code import FOLDER, Digests, files_named_in, package_version, take
from simulator.scenario.model import Scenario, Use
from simulator.scenario.overrides import resolved_arms
from simulator.scenario.plugins import plugins

#: begins the names of files that a run reads anew whenever it needs them, so that they may be edited meanwhile
REREAD = "rules "
#: begins the name of a checkpoint that a run starts from, and needs no more after its period 0
BASE = "base "


def third_party(uses: Iterable[tuple[str, Use]]) -> dict[str, str]:
    """Return what identifies the code of the third-party plug-ins among `uses`, (kind, plug-in), by `kind/name`.

    Plug-ins given to one of them as an option, {use: NAME, ...}, count too, and so do files and folders that options
    name. See `code_of_use` for what is looked at.
    """
    named = {f"{kind}/{use.use}": code_of_use(kind, use) for kind, use in _and_inner(uses)}
    return {name: digest_of(code) for name, code in named.items() if code}


def code_of_use(kind: str, use: Use) -> Digests:
    """Return the digests of what one plug-in consists of; nothing for one of ours that names no file.

    For a third-party one: the file of its module, what that imports from the user's own folders, and the versions of
    the packages among it. Data are identified by the source's own digest.
    """
    files = {} if kind == "sources" else files_named_in(use.options)
    if kind == "gates":
        files = {REREAD + name.partition(" ")[2]: digest for name, digest in files.items()}
    return files | _code(kind, use.use)


def code_of(scenario: Scenario) -> Digests:
    """Return the digests of all third-party code in a scenario's arms, and of files and folders that options name."""
    found: Digests = {}
    for arm in resolved_arms(scenario).values():
        for kind, use in _and_inner((kind, use) for _, kind, use in plugins(arm)):
            found |= code_of_use(kind, use)
        if arm.base is not None:
            named = files_named_in({"from": arm.base.from_})
            found |= {BASE + name.partition(" ")[2]: digest for name, digest in named.items()}
    return dict(sorted(found.items()))


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str | None]:
    """Return what differs between two digests: name -> what it is now, None where it is gone.

    A folder that is not in `before` is unknown, not changed: earlier versions took no digests of folders.
    """
    known = {*before, *(name for name in now if not name.startswith(FOLDER))}
    return {name: now.get(name) for name in sorted(known) if before.get(name) != now.get(name)}


def _code(kind: str, use: str) -> Digests:
    point = None if ":" in use else catalog.point(kind, use)
    if not catalog.is_third_party(kind, use):
        return {}
    named = (use if point is None else point.value).partition(":")[0]
    defining = named
    if kind == "defenses":  # is imported in processes of its own only, so that its files are read as they lie
        catalog.find_beside(named)
    else:
        defining = getattr(catalog.resolve(kind, use), "__module__", None) or named
    found: Digests = {}
    for module in {named, defining}:
        found |= take(module)
    if point is not None and point.dist is not None:
        found[f"package {point.dist.name}"] = package_version(point.dist.name)
    return found


def _and_inner(uses: Iterable[tuple[str, Use]]) -> Iterator[tuple[str, Use]]:
    for kind, use in uses:
        yield kind, use
        inner = [option for option in use.options.values() if isinstance(option, Mapping) and "use" in option]
        yield from _and_inner((kind, Use.model_validate(option)) for option in inner)
