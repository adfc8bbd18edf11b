"""When to retrain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from simulator.guard.call import Plugin, guarded
from simulator.guard.values import checked_value
from simulator.records import Decision, Signal
from simulator.scenario.bounds import Bounded, Count, Natural


@dataclass(frozen=True, slots=True)
class PastPeriod:
    """An earlier period: whether the monitor raised an alarm, and whether a candidate was trained."""

    period: int
    alarm: bool
    retrained: bool


@dataclass(frozen=True, slots=True)
class PolicyView:
    """What a policy may see.

    `period` counts from 1 (period 0 is always trained). `history` holds the periods from 1 on before this one, oldest
    first. `since_update`: periods since the last update (promoted retraining), this one included; 1 right after one.
    `labels_arrived`: labelled rows are at hand that no training has seen.
    """

    period: int
    signal: Signal
    history: tuple[PastPeriod, ...] = ()
    labels_arrived: bool = True
    since_update: int = 1


class Policy(Bounded, ABC):
    """Decides after the monitor whether to retrain. Stateless: all memory is in the view. Asked through `decide`."""

    @abstractmethod
    def decide(self, view: PolicyView) -> Decision:
        """Return whether to retrain in this period, and why; labels have arrived."""


def decide(policy: Policy, view: PolicyView) -> Decision:
    """Ask `policy`, unless there is nothing to train on: the one place that owns this rule."""
    if not view.labels_arrived:
        return Decision(retrain=False, why="no labels have arrived")
    return policy.decide(view)


def decided(plugin: Plugin, policy: Policy, view: PolicyView) -> Decision:
    """Ask `policy` as `decide` does, under the guard: `PluginError` where it raises or returns what cannot be kept."""
    with guarded(plugin, {}, seed=view.period):
        found = decide(policy, view)
    return checked_value(plugin, found, Decision) if plugin.foreign else found


@final
@dataclass(frozen=True, kw_only=True)
class EveryPeriod(Policy):
    """Retrains in the periods that are multiples of `every`. A period without labels is not caught up later.

    >>> quiet = Signal(method="none")
    >>> [EveryPeriod(every=2).decide(PolicyView(period, quiet)).why for period in (1, 2)]
    ['every 2 periods, next in 1', 'every 2 periods']
    """

    every: Count = 1

    def decide(self, view: PolicyView) -> Decision:
        if self.every == 1:
            return Decision(retrain=True, why="every period")
        due = view.period % self.every == 0
        rest = self.every - view.period % self.every
        return Decision(retrain=due, why=f"every {self.every} periods" + ("" if due else f", next in {rest}"))


@final
@dataclass(frozen=True, kw_only=True)
class OnAlarm(Policy):
    """Retrains after `patience` periods in a row with an alarm, this one included.

    Alarms before the last retraining do not count. For `cooldown` periods after a retraining, promoted or not, nothing
    is retrained. When the last update lies `at_most` periods back, it retrains without an alarm (None: never).

    >>> alarm = Signal(method="scripted", score=1.0, threshold=0.5, alarm=True)
    >>> before = PastPeriod(period=1, alarm=True, retrained=False)
    >>> OnAlarm(patience=2).decide(PolicyView(2, alarm, history=(before,))).why
    '2 alarms in a row'
    >>> OnAlarm(patience=2).decide(PolicyView(1, alarm)).why
    '1 of 2 alarms'
    """

    patience: Count = 1
    cooldown: Natural = 0
    at_most: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at_most is not None and self.at_most <= self.cooldown:
            raise ValueError(
                f"expected at_most to be above cooldown ({self.cooldown}), got {self.at_most}; "
                "raise it, or leave it out"
            )

    def decide(self, view: PolicyView) -> Decision:
        passed = _since_retraining(view)
        if passed is not None and passed <= self.cooldown:
            return Decision(retrain=False, why=f"cooling down, period {passed} of {self.cooldown}")
        alarms = _unanswered_alarms(view)
        if alarms >= self.patience:
            return Decision(retrain=True, why="alarm" if alarms == 1 else f"{alarms} alarms in a row")
        if self.at_most is not None and view.since_update >= self.at_most:
            return Decision(retrain=True, why=f"no update for {view.since_update} periods")
        return Decision(retrain=False, why=f"{alarms} of {self.patience} alarms" if alarms else "no alarm")


@final
@dataclass(frozen=True, kw_only=True)
class Scripted(Policy):
    """Retrains in the given `periods`, counted from 1.

    >>> Scripted(periods=(3,)).decide(PolicyView(3, Signal(method="none"))).retrain
    True
    """

    periods: tuple[Count, ...] = ()

    def decide(self, view: PolicyView) -> Decision:
        listed = view.period in self.periods
        return Decision(retrain=listed, why="in the script" if listed else "not in the script")


@final
class Never(Policy):
    """Keeps the base model throughout.

    >>> Never().decide(PolicyView(1, Signal(method="none"))).retrain
    False
    """

    def decide(self, view: PolicyView) -> Decision:
        return Decision(retrain=False, why="never retrains")


def _since_retraining(view: PolicyView) -> int | None:
    """Periods since a candidate was last trained after the base training, this one included; None if never."""
    trained = [past.period for past in view.history if past.retrained]
    return view.period - max(trained) if trained else None


def _unanswered_alarms(view: PolicyView) -> int:
    if not view.signal.alarm:
        return 0
    count = 1
    for past in reversed(view.history):
        if past.retrained or not past.alarm:
            break
        count += 1
    return count
