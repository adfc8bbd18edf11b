"""Plug-ins that do what ours never do, named by the tests of the loop as a user names his own."""

from __future__ import annotations

from typing import final

import torch

from defenses.base import Context, Filter, FilterResult
from simulator.production.gate import Gate, GateView
from simulator.production.monitors.base import Monitor, MonitorView
from simulator.records import Judgement, Signal


@final
class FirstLookDrops(Filter):
    """Drops half of the window at the first look, asks for a second, and then keeps all."""

    looks = 0

    def filter(self, context: Context) -> FilterResult:
        assert context.window is not None
        type(self).looks += 1
        first = type(self).looks % 2 == 0  # the base's only look comes before
        keep = torch.arange(len(context.window)) % 2 == 0 if first else torch.ones(len(context.window)) > 0
        return FilterResult(keep, again=first)


@final
class Broken(Monitor):
    """Raises what nobody foresees."""

    def observe(self, view: MonitorView) -> Signal:
        return Signal(method="broken", score=1 / 0)


@final
class Undecided(Gate):
    """Raises whatever it is shown."""

    def judge(self, view: GateView) -> Judgement:
        raise KeyError("rules")
