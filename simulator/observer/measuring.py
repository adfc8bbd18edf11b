"""One probe at work: under the guard, and held to the readings that it declares."""

from __future__ import annotations

from dataclasses import replace

from simulator.errors import PluginError
from simulator.guard.call import guarded
from simulator.guard.place import here
from simulator.guard.values import checked_value
from simulator.observer.probes.base import Probe, ProbeView
from simulator.records import Reading
from simulator.scenario import catalog
from simulator.scenario.model import Use


def measured_by(use: Use, probe: Probe, view: ProbeView) -> dict[str, Reading]:
    """Return the readings of a probe: exactly those in `gives`.

    Somebody else's probe gets results of its own to share, so that it cannot answer in place of others. Raises
    `PluginError` where it gives other readings, changes what it is shown, or raises.
    """
    plugin = catalog.plugin("probes", use.use)
    mine = replace(view, shared={}) if plugin.foreign else view
    with guarded(plugin, {"view": mine}, seed=view.seed):
        found = probe.measure(mine)
    if not plugin.foreign:
        return found
    if not isinstance(found, dict) or found.keys() != set(probe.gives):
        names = sorted(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise PluginError(
            f"expected {plugin.name} to give the readings that it declares, {', '.join(probe.gives)}{here()}, "
            f"got {names}; correct `gives` or `measure`"
        )
    return {name: checked_value(plugin, reading, Reading) for name, reading in found.items()}
