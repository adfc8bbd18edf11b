"""The monitors that look at nothing."""

from __future__ import annotations

from simulator.production.monitors.base import MonitorView, NoMonitor
from simulator.production.monitors.scripted import Scripted
from simulator.records import Signal


def _in_period(view: MonitorView, period: int) -> MonitorView:
    return MonitorView(view.reference, view.current, view.model, view.feature_layer, view.generator, period)


def test_no_monitor_gives_no_score(make_view, images):
    assert NoMonitor().observe(make_view(images[:4], images[4:8])) == Signal(method="none", score=None, alarm=False)


def test_scripted_alarms_in_its_periods_alone(make_view, images):
    view = make_view(images[:4], images[4:8])
    signals = [Scripted(alarms=(2, 5)).observe(_in_period(view, period)) for period in range(1, 7)]
    assert [signal.alarm for signal in signals] == [False, True, False, False, True, False]
    assert all(signal.alarm == (signal.score > signal.threshold) for signal in signals)


def test_scripted_without_periods_is_silent(make_view, images):
    assert not Scripted().observe(make_view(images[:4], images[4:8])).alarm
