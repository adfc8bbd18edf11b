"""Plug-ins that do what ours never do, named by the tests of the loop as a user names his own."""

from __future__ import annotations

import time
from typing import ClassVar, final

import torch

from defenses.base import Context, Filter, FilterResult
from simulator.observer.probes.base import Probe, ProbeView
from simulator.production.gate import Gate, GateView
from simulator.production.monitors.base import Monitor, MonitorView
from simulator.production.training.schedules import Schedule
from simulator.records import Judgement, Reading, Signal


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
class Nudging(Monitor):
    """Works in place on the model that it is shown."""

    def observe(self, view: MonitorView) -> Signal:
        with torch.no_grad():
            next(view.model.parameters()).add_(1e-3)
        return Signal(method="nudging")


class Undecided(Gate):
    """Raises whatever it is shown."""

    def judge(self, view: GateView) -> Judgement:
        raise KeyError("rules")


@final
class Slow(Probe):
    """Takes half a second."""

    gives: ClassVar[tuple[str, ...]] = ("slow/done",)

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        time.sleep(0.5)
        return {"slow/done": Reading.of(1.0)}


@final
class SlowToBegin(Schedule):
    """Takes a quarter of a second before the first step of a training."""

    def rate_at(self, step: int, steps: int) -> float:
        if step == 0:
            time.sleep(0.25)
        return 0.05


@final
class Smudging(Probe):
    """Changes the images that all probes are shown."""

    gives: ClassVar[tuple[str, ...]] = ("smudging/done",)

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        view.test.images[0].fill_(0.5)
        return {"smudging/done": Reading.of(1.0)}
