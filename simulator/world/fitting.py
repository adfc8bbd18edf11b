"""Builds the drifts of a scenario by name, and checks that drifts and attacks fit the data."""

from __future__ import annotations

from simulator.errors import PluginError, text_of
from simulator.scenario import catalog
from simulator.scenario.model import Scenario, Use
from simulator.world.attacks.base import Attack
from simulator.world.class_options import with_positions
from simulator.world.drift import Drift
from simulator.world.foreign import guarded_drift
from simulator.world.sources.base import SourceData


def drifts_of(scenario: Scenario, data: SourceData) -> dict[str, Drift]:
    """Return the scenario's drifts by name, checked; a second one of a name is numbered `#2`."""
    return {name: _drift(use, data) for name, use in _named(scenario.drift).items()}


def _named(uses: tuple[Use, ...]) -> dict[str, Use]:
    """Return the drifts by name; from the second of one name on, with a number."""
    named: dict[str, Use] = {}
    for use in uses:
        number = sum(name.partition("#")[0] == use.use for name in named) + 1
        named[use.use if number == 1 else f"{use.use}#{number}"] = use
    return named


def _drift(use: Use, data: SourceData) -> Drift:
    found = with_positions(f"drift '{use.use}'", use, data.class_names)
    drift = guarded_drift(catalog.plugin("drifts", use.use), catalog.build("drifts", found.use, found.options))
    check_fits(f"drift '{use.use}'", drift, data)
    return drift


def check_fits(owner: str, member: Drift | Attack, data: SourceData) -> None:
    """Raise `PluginError` when a drift or an attack does not fit the shape and the classes of the data."""
    try:
        member.check_fits(data.shape, data.classes)
    except ValueError as error:
        raise PluginError(f"{owner}: {text_of(error)}") from error
