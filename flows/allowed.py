"""Which of a scenario's `module:Name` classes a deployment may import, since anyone may set a deployment's parameters.

The command line is not restricted: its user can run code anyway.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from prefect.context import FlowRunContext

from simulator.errors import ScenarioError
from simulator.scenario.catalog import KINDS, names
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import resolved_arms

#: environment variable of the worker: modules, packages (with all below them) or `module:Name`s, comma separated
ALLOWED = "EBBDOOR_ALLOWED_MODULES"


def check_in_flow(scenario: Scenario) -> None:
    """Raise `ScenarioError` where the current flow run is a deployment's and `scenario` names what is not allowed."""
    if current_deployment() is not None:
        check_allowed(scenario, os.environ.get(ALLOWED, ""))


def check_names_in_flow(uses: Iterable[str]) -> None:
    """Raise `ScenarioError` where the current flow run is a deployment's and one of `uses` is not allowed."""
    if current_deployment() is not None:
        _check_names(uses, os.environ.get(ALLOWED, ""))


def current_deployment() -> UUID | None:
    """Return the id of the deployment whose flow run this is; None outside one."""
    context = FlowRunContext.get()
    return None if context is None or context.flow_run is None else context.flow_run.deployment_id


def check_allowed(scenario: Scenario, allowed: str) -> None:
    """Raise `ScenarioError` unless every `module:Name` in `scenario` and its arms is installed or in `allowed`.

    Nothing is imported. `allowed` is a comma-separated list: `pkg` allows `pkg:Name` and `pkg.part:Name`,
    `pkg.part:Name` only itself.
    """
    _check_names(_uses_in(scenario), allowed)


def _check_names(uses: Iterable[str], allowed: str) -> None:
    entries = [entry.strip() for entry in allowed.split(",") if entry.strip()]
    installed = {value for kind in KINDS for value in names(kind).values()}
    named = {use for use in uses if ":" in use and use not in installed}
    refused = sorted(use for use in named if not _is_allowed(use, entries))
    if refused:
        module = refused[0].partition(":")[0]
        raise ScenarioError(
            f"expected a deployment to name plug-ins that are installed or allowed, got "
            f"{', '.join(refused)}; have the worker started with {ALLOWED}={module}, or use the command line"
        )


def _uses_in(scenario: Scenario) -> Iterator[str]:
    """Every name of a plug-in: of each arm's, and of any other key `use`."""
    for one in (scenario, *resolved_arms(scenario).values()):
        yield from _uses(one.tree)


def _uses(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _uses(below, str(name))
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _uses(below)
    elif isinstance(value, str) and key.rpartition(".")[2] == "use":  # an arm's override may be `attack.use`
        yield value


def _is_allowed(use: str, entries: list[str]) -> bool:
    module = use.partition(":")[0]
    return any(entry in (use, module) or module.startswith(f"{entry}.") for entry in entries)
