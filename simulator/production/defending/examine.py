"""What is known of a scenario's defenses before anything is played: a stranger's is not imported by this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any, Final

from defenses.base import Size
from simulator.errors import PluginError
from simulator.production.defending.facts import DefenseFacts, facts_of
from simulator.production.defending.runner import InProcesses, Limits
from simulator.records import digest_of
from simulator.scenario import catalog
from simulator.scenario.identity import code_of_use
from simulator.scenario.model import Scenario, Use
from simulator.scenario.plugins import own_defaults

#: seconds that an import and a constructor may take
_SECONDS: Final = 120.0
#: what was found by (working folder, module folders, defense, size, code), so that a process asks once
_FOUND: dict[tuple[str, ...], DefenseFacts | str] = {}


def examined(use: Use, *, in_process: bool, size: Size | None = None) -> DefenseFacts:
    """Return the facts of a defense, or raise `PluginError`; with `in_process` it is constructed in this process."""
    if in_process or not catalog.is_third_party("defenses", use.use):
        return facts_of(use.use, use.options, size)
    examine_all([use], size)
    found = _FOUND[_key(use, size)]
    if isinstance(found, str):
        raise PluginError(found)
    return found


def examine_all(uses: Iterable[Use], size: Size | None = None) -> None:
    """Ask for the facts of all those strangers' defenses that are not known yet, in one go: it takes seconds."""
    asked = {_key(use, size): use for use in uses if catalog.is_third_party("defenses", use.use)}
    missing = {key: use for key, use in asked.items() if key not in _FOUND}
    if not missing:
        return
    with closing(InProcesses((), Limits(_SECONDS), threads=1)) as processes:
        for key, use in missing.items():
            try:
                _FOUND[key] = processes.facts(use.use, use.options, size)
            except PluginError as error:
                _FOUND[key] = str(error)


def _key(use: Use, size: Size | None) -> tuple[str, ...]:
    code = digest_of(code_of_use("defenses", use))  # an edited one is asked again
    return (os.getcwd(), os.pathsep.join(sys.path), use.model_dump_json(), repr(size), code)


def defaults_in(scenario: Scenario) -> Callable[[str, Use], Mapping[str, Any]]:
    """Return what gives the default options of the plug-ins of `scenario`; a stranger's defense is not imported."""

    def defaults(kind: str, use: Use) -> Mapping[str, Any]:
        if kind != "defenses":
            return own_defaults(kind, use)
        return examined(use, in_process=scenario.in_process).defaults

    return defaults
