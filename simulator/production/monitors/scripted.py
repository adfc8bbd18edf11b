"""A monitor whose alarms are given: for tests, and for asking what a perfect monitor would change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from simulator.production.monitors.base import Monitor, MonitorView
from simulator.records import Signal
from simulator.scenario.bounds import Count


@final
@dataclass(frozen=True, kw_only=True)
class Scripted(Monitor):
    """Raises an alarm in the periods `alarms` (counted from 1) and looks at no image.

    The score is 1 in those periods and 0 elsewhere, the threshold 0.5.

    >>> import torch
    >>> images, model = torch.zeros(2, 1, 8, 8), torch.nn.Flatten()
    >>> views = [MonitorView(images, images, model, "", torch.Generator(), period=period) for period in (1, 2)]
    >>> [Scripted(alarms=(2,)).observe(view).alarm for view in views]
    [False, True]
    """

    alarms: tuple[Count, ...] = ()

    def observe(self, view: MonitorView) -> Signal:
        alarm = view.period in self.alarms
        return Signal(method="scripted", score=float(alarm), threshold=0.5, alarm=alarm)
