"""Asks a scenario's monitor about the batch of a period."""

from __future__ import annotations

from torch import nn

from simulator.batch import Batch
from simulator.production.monitors.base import Monitor, MonitorView, observed
from simulator.production.training.features import feature_layer
from simulator.records import Signal
from simulator.scenario import catalog
from simulator.scenario.model import Scenario
from simulator.seeds import generator


def signal_of(
    monitor: Monitor, scenario: Scenario, reference: Batch, current: Batch, model: nn.Module, period: int
) -> Signal:
    """Return what `monitor` says of the `current` batch beside the `reference`; `model` serves."""
    view = MonitorView(
        reference=reference.images,
        current=current.images,
        model=model,
        feature_layer=feature_layer(model),
        generator=generator(scenario.seed, "monitor", period),
        period=period,
    )
    return observed(catalog.plugin("monitors", scenario.monitor.use), monitor, view, current.labels)
