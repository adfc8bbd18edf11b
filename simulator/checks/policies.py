"""Policies: a decision with its reason, from the view alone."""

from __future__ import annotations

from simulator.checks.subject import Subject, expect, quiet
from simulator.guard.values import checked_value
from simulator.production.policy import PastPeriod, PolicyView
from simulator.records import Decision, Signal
from simulator.scenario import catalog


def decisions_have_reasons(subject: Subject) -> None:
    """Every decision says why."""
    for view in _views():
        decision = quiet(lambda: subject.make().decide(view))  # noqa: B023
        checked_value(catalog.plugin(subject.kind, subject.use), decision, Decision)
        expect(bool(decision.why.strip()), "expected a reason, got an empty one")


def same_view_same_decision(subject: Subject) -> None:
    """A policy that has decided before decides as a fresh one does."""
    policy = subject.make()
    for view in _views():
        first, again, fresh = policy.decide(view), policy.decide(view), subject.make().decide(view)
        expect(first == again == fresh, f"expected one decision for one view, got {first}, {again} and {fresh}")


def _views() -> list[PolicyView]:
    """Return views with and without an alarm, early and late, after periods without and with alarms."""
    found = []
    for alarm in (False, True):
        signal = Signal(method="conformance", score=float(alarm), threshold=0.5, alarm=alarm)
        for period in (1, 2, 7):
            for restless in (False, True):
                history = tuple(PastPeriod(past, alarm=restless, retrained=restless) for past in range(1, period))
                since = 1 if restless else period
                found.append(PolicyView(period=period, signal=signal, history=history, since_update=since))
    return found
