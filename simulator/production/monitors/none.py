"""The monitor that watches nothing: the baseline every other is compared with."""

from __future__ import annotations

from typing import final

from simulator.production.monitors.base import Monitor, MonitorView
from simulator.records import Signal

__all__ = ["NoMonitor"]


@final
class NoMonitor(Monitor):
    """Never measures and never raises an alarm.

    >>> import torch
    >>> images, model = torch.zeros(2, 1, 8, 8), torch.nn.Flatten()
    >>> NoMonitor().observe(MonitorView(images, images, model, "", torch.Generator(), period=1))
    Signal(method='none', score=None, threshold=None, p_value=None, alarm=False, detail={})
    """

    def observe(self, view: MonitorView) -> Signal:
        """Return a signal without a score."""
        return Signal(method="none")
