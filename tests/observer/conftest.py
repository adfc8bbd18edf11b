"""Hand-made periods: a small builder, so that a test says only what it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from simulator.production.registry.base import Entry
from simulator.records import Arrival, Control, Decision, Judgement, Outcome, PeriodRecord, Reading, Signal

UNREAD = Reading.undefined("measured on the first erased and the last version only")


def make_entry(
    period: int,
    *,
    arm: str = "main",
    control: Control = "none",
    version: int | None = None,
    net: float | None = 0.9,
    success: float | None = 0.9,
    clean: float | None = 0.8,
    relearned: float | None = None,
    unrelated: float | None = None,
    action: str = "promoted",
    candidate: int | None = -1,
    drift: Mapping[str, float] | None = None,
    poison: float = 0.0,
    score: float | None = 0.1,
    alarm: bool = False,
    method: str = "mmd",
    readings: Mapping[str, Reading] | None = None,
    outcomes: Sequence[Outcome] = (),
    seconds: float = 1.0,
    samples: int = 100,
) -> Entry:
    """One committed period; `candidate` -1 means the serving version was trained in it."""
    serving = period if version is None else version
    found = {
        "clean/accuracy": _reading(clean, "there is no test image"),
        "backdoor/attack_success": _reading(success, "the scenario has no attack"),
        "backdoor/collapsed": Reading.of(0),
    }
    if control == "none":
        found["backdoor/net_attack_success"] = _reading(net, "there is no paced twin to subtract")
        found["backdoor/relearned_net_attack_success"] = UNREAD if relearned is None else Reading.of(relearned)
        found["backdoor/relearned_unrelated_net_attack_success"] = (
            UNREAD if unrelated is None else Reading.of(unrelated)
        )
    record = PeriodRecord(
        run="run-1",
        arm=arm,
        control=control,
        period=period,
        version=serving,
        parent=serving - 1 if serving else None,
        candidate=serving if candidate == -1 else candidate,
        candidate_parent=None,
        arrival=Arrival(rows=100, poisoned=round(100 * poison), poison_rate=poison, true_drift=dict(drift or {})),
        signal=Signal(method=method, score=score, threshold=None if score is None else 0.5, alarm=alarm),
        decision=Decision(retrain=candidate is not None, why="every period"),
        judgement=Judgement(action=action, why="within the tolerance", serving=serving),
        readings={**found, **(readings or {})},
        outcomes=list(outcomes),
        training={"samples": samples} if candidate is not None else {},
        weights="0" * 64,
        source="1" * 64,
        scenario="2" * 64,
    )
    return Entry(record, record.digest(), {"timing": {"train": seconds}})


def _reading(value: float | None, reason: str) -> Reading:
    return Reading.undefined(reason) if value is None else Reading.of(value)


@pytest.fixture(scope="session")
def entry() -> Callable[..., Entry]:
    """The builder of one committed period."""
    return make_entry


@pytest.fixture(scope="session")
def fading() -> dict[str, list[Entry]]:
    """Two arms with their twins over five periods: one backdoor survives, one is erased at once and dormant."""
    nets = {"steady": (0.95, 0.93, 0.9, 0.85, 0.8), "fading": (0.95, 0.06, 0.02, 0.01, -0.01)}
    lines: dict[str, list[Entry]] = {}
    for arm, values in nets.items():
        lines[arm] = [_attacked(arm, period, net) for period, net in enumerate(values)]
        lines[f"{arm}.twin"] = [
            make_entry(period, arm=arm, control="paced", success=0.02, clean=0.86 - 0.01 * period, drift=_turn(period))
            for period in range(5)
        ]
    return lines


def _attacked(arm: str, period: int, net: float) -> Entry:
    again: dict[str, Any] = {}
    if period == 4:
        again = {"relearned": 0.59, "unrelated": 0.04} if arm == "fading" else {"relearned": 0.9, "unrelated": 0.05}
    flagged = Outcome(surface="inspector", name="neural-cleanse", status="flagged", reason="an outlying <class>")
    return make_entry(
        period,
        arm=arm,
        net=net,
        success=net + 0.02,
        clean=0.87 - 0.01 * period,
        drift=_turn(period),
        poison=0.05 if period == 0 else 0.0,
        score=0.2 * period,
        alarm=period >= 3,
        outcomes=[flagged] if period == 2 else [],
        **again,
    )


def _turn(period: int) -> dict[str, float]:
    return {"rotation": 5.0 * period}
