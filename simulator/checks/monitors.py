"""Monitors: a score, its threshold, and an alarm that follows from them."""

from __future__ import annotations

from simulator.checks.material import CASES, Case, images_of, model_of, stream
from simulator.checks.subject import Subject, expect, same, unchanged
from simulator.guard.values import checked_value
from simulator.production.monitors.base import Monitor, MonitorView
from simulator.records import Signal
from simulator.scenario import catalog

_ROWS = 80


def alarm_follows_from_score(subject: Subject) -> None:
    """An alarm is a score above its threshold; without a score there is none."""
    for case in CASES:
        for view in (_view(case), _view(case, darker=0.5)):
            signal = _observe(subject.make(), view)
            checked_value(catalog.plugin(subject.kind, subject.use), signal, Signal)
            if signal.score is None or signal.threshold is None:
                expect(not signal.alarm, "expected no alarm without a score and a threshold, got one")
            else:
                above = signal.score > signal.threshold
                expect(
                    signal.alarm == above, f"expected alarm to be {above} for {signal.score} against {signal.threshold}"
                )


def identical_data_raise_no_alarm(subject: Subject) -> None:
    """The reference compared with itself gives no alarm."""
    view = _view(CASES[1])
    itself = MonitorView(view.reference, view.reference, view.model, view.feature_layer, stream(), period=1)
    expect(not _observe(subject.make(), itself).alarm, "expected no alarm on identical data, got one")


def same_view_same_signal(subject: Subject) -> None:
    """The same view gives the same signal, from a fresh monitor and from one that has seen others."""
    fresh = _observe(subject.make(), _view(CASES[0]))
    monitor: Monitor = subject.make()
    _observe(monitor, _view(CASES[0], darker=0.3))
    expect(same(fresh, _observe(monitor, _view(CASES[0]))), "expected the same signal for the same view, got another")


def view_is_left_alone(subject: Subject) -> None:
    """Images, model, generator and global random states are left as they were."""
    for case in CASES:
        view = _view(case)
        unchanged(
            lambda: subject.make().observe(view),  # noqa: B023
            reference=view.reference,
            current=view.current,
            model=view.model,
            generator=view.generator,
        )


def reference_is_known(subject: Subject) -> None:
    """`reference` is fixed or promotion."""
    found = subject.make().reference
    expect(found in ("fixed", "promotion"), f"expected reference to be 'fixed' or 'promotion', got {found!r}")


def _view(case: Case, darker: float = 0.0) -> MonitorView:
    current = images_of(case, _ROWS, seed=3) * (1 - darker)
    model = model_of(case)
    return MonitorView(images_of(case, _ROWS, seed=2), current, model, "5", stream(), period=1)


def _observe(monitor: Monitor, view: MonitorView) -> Signal:
    view.generator.set_state(stream().get_state())
    return monitor.observe(view)
