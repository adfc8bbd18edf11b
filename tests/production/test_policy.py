"""Every policy on cases worked out by hand."""

from __future__ import annotations

import pytest

from simulator.production.policy import (
    EveryPeriod,
    Never,
    OnAlarm,
    PastPeriod,
    Policy,
    PolicyView,
    Scripted,
    decide,
)
from simulator.records import Decision, Signal


def _play(policy: Policy, alarms: str, *, labels: str | None = None, promote: bool = True) -> str:
    """Play periods 1, 2, ...: `!` is an alarm; in `labels` `-` means none arrived. Returns `R` or `.` a period."""
    history: tuple[PastPeriod, ...] = ()
    since_update = 1
    answers = ""
    for period, mark in enumerate(alarms, start=1):
        arrived = labels is None or labels[period - 1] != "-"
        signal = Signal(method="scripted", alarm=mark == "!")
        retrain = decide(policy, PolicyView(period, signal, history, arrived, since_update)).retrain
        history = (*history, PastPeriod(period, signal.alarm, retrain))
        since_update = 1 if retrain and promote else since_update + 1
        answers += "R" if retrain else "."
    return answers


@pytest.mark.parametrize(
    ("policy", "alarms", "expected"),
    [
        (EveryPeriod(), "..!.", "RRRR"),
        (EveryPeriod(every=3), "!......", "..R..R."),
        (Never(), "!!!", "..."),
        (Scripted(periods=(2, 4)), "!!!!!", ".R.R."),
        (Scripted(), "!!", ".."),
        (OnAlarm(), "..!.!!", "..R.RR"),
        # two in a row, and alarms that a retraining answered count no more
        (OnAlarm(patience=2), "!.!!!!!", "...R.R."),
        (OnAlarm(patience=3), "!!.!!!.", ".....R."),
        # the two periods after a retraining are quiet
        (OnAlarm(cooldown=2), "!!!!!!!", "R..R..R"),
        (OnAlarm(patience=2, cooldown=1), "!!!!!!", ".R.R.R"),
        # three periods without an update are enough; an alarm starts the count anew
        (OnAlarm(at_most=3), ".......", "..R..R."),
        (OnAlarm(at_most=3), ".!......", ".R..R..R"),
        (OnAlarm(cooldown=1, at_most=2), "!....", "R.R.R"),
    ],
)
def test_policies_by_hand(policy, alarms, expected):
    assert _play(policy, alarms) == expected


def test_no_policy_retrains_without_labels():
    for policy in (EveryPeriod(), OnAlarm(), Scripted(periods=(1, 2, 3))):
        assert _play(policy, "!!!", labels="-+-") == ".R."
        answer = decide(policy, PolicyView(1, Signal(method="none", alarm=True), labels_arrived=False))
        assert answer == Decision(retrain=False, why="no labels have arrived")


def test_alarms_wait_for_labels():
    assert _play(OnAlarm(patience=2), "!!!.", labels="--++") == "..R."


def test_a_calendar_does_not_make_up_for_a_missed_period():
    assert _play(EveryPeriod(every=2), "......", labels="+-++++") == "...R.R"


def test_a_model_that_is_never_replaced_stays_due():
    # at_most counts from the last *promoted* retraining
    assert _play(OnAlarm(at_most=3), "......", promote=False) == "..RRRR"
    assert _play(OnAlarm(at_most=3, cooldown=1), "......", promote=False) == "..R.R."


@pytest.mark.parametrize(
    ("policy", "view", "why"),
    [
        (EveryPeriod(), PolicyView(4, Signal(method="none")), "every period"),
        (EveryPeriod(every=3), PolicyView(4, Signal(method="none")), "every 3 periods, next in 2"),
        (EveryPeriod(every=2), PolicyView(4, Signal(method="none")), "every 2 periods"),
        (OnAlarm(), PolicyView(1, Signal(method="none", alarm=True)), "alarm"),
        (OnAlarm(), PolicyView(1, Signal(method="none")), "no alarm"),
        (OnAlarm(patience=2), PolicyView(1, Signal(method="none", alarm=True)), "1 of 2 alarms"),
        (
            OnAlarm(patience=2),
            PolicyView(2, Signal(method="none", alarm=True), (PastPeriod(1, True, False),)),
            "2 alarms in a row",
        ),
        (
            OnAlarm(cooldown=2),
            PolicyView(4, Signal(method="none", alarm=True), (PastPeriod(3, True, True),)),
            "cooling down, period 1 of 2",
        ),
        (OnAlarm(at_most=5), PolicyView(9, Signal(method="none"), since_update=6), "no update for 6 periods"),
        (Never(), PolicyView(1, Signal(method="none", alarm=True)), "never retrains"),
        (Scripted(periods=(1,)), PolicyView(1, Signal(method="none")), "in the script"),
        (Scripted(periods=(1,)), PolicyView(2, Signal(method="none")), "not in the script"),
    ],
)
def test_the_reason_is_given(policy, view, why):
    assert decide(policy, view).why == why
