"""The monitor contract: compare a batch with the reference, say how far apart they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from simulator.guard.call import Plugin, guarded
from simulator.guard.values import checked_value
from simulator.records import Signal
from simulator.scenario.bounds import Bounded


@dataclass(frozen=True, slots=True)
class MonitorView:
    """What a monitor may see: images only, the serving model, nothing of the truth.

    `reference` and `current` are float32 (N, C, H, W) in [0, 1]. `reference` are images the model was never trained on.
    `model` is the champion in eval mode and returns logits; `feature_layer` names the module whose input is the feature
    vector. `generator` is a seeded CPU generator; a monitor leaves it and every global random state as they are.
    `period` counts from 1: at period 0 no champion serves yet.
    """

    reference: Tensor
    current: Tensor
    model: nn.Module
    feature_layer: str
    generator: torch.Generator
    period: int = 0


class Monitor(Bounded, ABC):
    """Watches arriving batches. Stateless: the same view gives the same signal."""

    #: `fixed` always compares with period 0; `promotion` with the trusted images of the champion's promotion
    reference: Literal["fixed", "promotion"] = "fixed"
    #: images that it needs on each side
    least_images: ClassVar[int] = 1

    @abstractmethod
    def observe(self, view: MonitorView) -> Signal:
        """Return the signal for `view.current`; higher score = more drift."""


def observed(plugin: Plugin, monitor: Monitor, view: MonitorView, labels: Tensor) -> Signal:
    """Ask `monitor` under the guard; `labels` are those of the images, which it must not reach.

    Raises `PluginError` where it changes what it is shown, raises, or returns what cannot be kept.
    """
    with guarded(plugin, {"view": view, "labels": labels}, seed=view.generator.initial_seed()):
        found = monitor.observe(view)
    return checked_value(plugin, found, Signal) if plugin.foreign else found


@final
class NoMonitor(Monitor):
    """Never measures and never raises an alarm.

    >>> import torch
    >>> images, model = torch.zeros(2, 1, 8, 8), torch.nn.Flatten()
    >>> NoMonitor().observe(MonitorView(images, images, model, "", torch.Generator(), period=1))
    Signal(method='none', score=None, threshold=None, p_value=None, alarm=False, detail={})
    """

    def observe(self, view: MonitorView) -> Signal:
        return Signal(method="none")
